from executors.config import EngineConfig
from executors.base import Executor, ProgressCallback
from executors.errors import *
from executors.errors import ExecutorError, EngineDead, RequestAborted
from executors.types import *
from executors.registry import create, available_engines
