from cli.redis_server import running, start_detached, stop_detached


def start(d):
    if running(d):
        return False
    start_detached(d, port=None, unix_socket=d / "redis.sock")
    return True


stop = stop_detached
