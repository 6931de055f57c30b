"""The executor: receives requests, claims what must not run twice, runs, reports, heartbeats."""

from gregale.executor.executor import Executor, ExecutorSettings

__all__ = ["Executor", "ExecutorSettings"]
