"""What runs the stages: in the loop's own thread, in threads, in processes; all behind one seam."""

from cloud_server.executors.inline import InlineExecutor
from cloud_server.executors.process import ProcessExecutor
from cloud_server.executors.seam import Executor, ExecutorError
from cloud_server.executors.thread import ThreadExecutor

__all__ = ["Executor", "ExecutorError", "InlineExecutor", "ProcessExecutor", "ThreadExecutor"]
