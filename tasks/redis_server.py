from cli.redis_server import start_detached, stop_detached, running
def start(d):
    if running(d): return False
    start_detached(d, port=None, unix_socket=d / "redis.sock"); return True
stop = stop_detached
