from executors.base import Executor, ProgressCallback
from executors.config import EngineConfig
from executors.errors import *
from executors.errors import EngineDead, ExecutorError, RequestAborted
from executors.registry import available_engines, create
from executors.types import *
