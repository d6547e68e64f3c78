"""honeyflow's tasks: `from tasks import infer`, then `infer.delay(model=..., findings=...)`."""

from tasks.celery import app
from tasks.inference import infer, infer_many

__all__ = ["app", "infer", "infer_many"]
