"""Celery's settings, loaded by name and imported by nobody; every public name is a setting."""

from tasks import settings as _settings_module

_settings = _settings_module.load()
_timing = _settings.timing

broker_url = _settings.redis_url
result_backend = "ledger+" + _settings.redis_url.replace("redis+socket://", "socket://")

# Modules with tasks. Their names are the wire format: given explicitly, never derived.
imports = (
    "tasks.inference",
    "tasks.maintenance",
    "tasks.alerts",
    "tasks.canaries",
    "tasks.cosigning",
    "tasks.uploads",
    "tasks.worker",
)

# A message is a job id; nothing but JSON is read from the broker.
task_serializer = "json"
result_serializer = "json"
accept_content = ["json"]
result_accept_content = ["json"]
task_default_queue = "celery"
task_default_priority = 3

# A message is acked when the ledger has claimed its job; from then on the ledger's lease owns it.
task_acks_late = False
worker_disable_prefetch = True
worker_prefetch_multiplier = 1
worker_concurrency = 64
worker_pool = "tasks.pool:EnginePool"
worker_consumer = "tasks.worker:Consumer"
worker_cancel_long_running_tasks_on_connection_loss = False
worker_hijack_root_logger = True

broker_connection_retry_on_startup = True
broker_connection_max_retries = None
# A Redis that is full or cannot write refuses commands; that passes, as an outage does.
broker_channel_error_retry = True
broker_transport_options = {
    "visibility_timeout": 86_400,
    "unacked_restore_interval": 1,
    "unacked_restore_throttle": 1,
    # Less than a worker's loop may stand still, `timing.stall_s`: the loop waits in these calls.
    "socket_timeout": 4,
    "socket_connect_timeout": 4,
    "health_check_interval": 10,
    "queue_order_strategy": "round_robin",
}
redis_socket_timeout = 10
redis_socket_connect_timeout = 5
redis_backend_health_check_interval = 10

# Results are copies; the ledger stands behind them.
result_expires = _timing.result_ttl_s
result_backend_thread_safe = True
result_extended = False

timezone = "UTC"
enable_utc = True

beat_schedule = {
    "reconcile": {
        "task": "tasks.reconcile",
        "schedule": 10.0,
        "options": {"queue": "control", "expires": 10},
    },
    "sweep-workers": {
        "task": "tasks.sweep_workers",
        "schedule": min(10.0, _timing.heartbeat_s),
        "options": {"queue": "control", "expires": min(10.0, _timing.heartbeat_s)},
    },
    "request-seals": {
        "task": "tasks.request_seals",
        "schedule": 5.0,
        "options": {"queue": "control", "expires": 5},
    },
    "collect-cosignatures": {
        "task": "tasks.collect_cosignatures",
        "schedule": 30.0,
        "options": {"queue": "control", "expires": 30},
    },
    "check-alerts": {
        "task": "tasks.check_alerts",
        "schedule": _timing.alert_check_s,
        "options": {"queue": "control", "expires": _timing.alert_check_s},
    },
    "deliver-alerts": {
        "task": "tasks.deliver_alerts",
        "schedule": _timing.alert_delivery_s,
        "options": {"queue": "control", "expires": _timing.alert_delivery_s},
    },
    "upload-to-ipfs": {
        "task": "tasks.upload_to_ipfs",
        "schedule": 15.0,
        "options": {"queue": "control", "expires": 15},
    },
}
if _settings.canary.every_s > 0:
    beat_schedule["send-canaries"] = {
        "task": "tasks.send_canaries",
        "schedule": _settings.canary.every_s,
        "options": {"queue": "control", "expires": _settings.canary.every_s},
    }
beat_schedule_filename = str(_settings.data_dir / "celerybeat-schedule")
