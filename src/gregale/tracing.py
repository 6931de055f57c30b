"""Spans of executions, tasks and actions for OpenTelemetry, where an exporter is configured by its usual environment.

Ids of traces and spans come from the ids of executions, tasks and actions: whichever process emits a span, it finds its
place, and nothing has to travel with messages.
"""

from __future__ import annotations

import hashlib
import logging
import os
from typing import TYPE_CHECKING, Any

from gregale.core import Execution, State, Task, Work

if TYPE_CHECKING:
    from gregale.service import Service

log = logging.getLogger("gregale.tracing")

_CONFIGURED = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


def set_up(service: Service) -> None:
    """Does nothing unless an endpoint is configured. Raises ImportError when the libraries are not installed."""
    if not any(os.environ.get(name) for name in _CONFIGURED):
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        raise ImportError("Traces need OpenTelemetry: pip install 'gregale[tracing]'") from None
    service.engine.listen(Spans(BatchSpanProcessor(OTLPSpanExporter()), service.name).saw)


def trace_id(root_id: str) -> int:
    return int.from_bytes(hashlib.sha256(root_id.encode()).digest()[:16], "big") or 1


def span_id(own_id: str) -> int:
    return int.from_bytes(hashlib.sha256(own_id.encode()).digest()[16:24], "big") or 1


class Spans:
    """`saw` is told of every commit, and emits a span for each execution, task and action that has ended in it."""

    def __init__(self, processor: Any, member: str):
        from opentelemetry.sdk.resources import Resource

        self._processor = processor
        self._resource = Resource.create({"service.name": "gregale", "service.instance.id": member})

    def saw(self, works: list[Work]) -> None:
        for work in works:
            try:
                self._ended(work)
            except Exception:
                log.exception("spans of execution %s could not be emitted", work.execution.id)

    def _ended(self, work: Work) -> None:
        execution = work.execution
        for child in work.children.values():
            if child.kind == "ACTION" and child.state.completed:
                task = execution.tasks[child.task_id]
                self._emit(execution, child.id, task.id, child.name, child.state, child.created_at, work.decision.now)
        for change in work.transitions:
            if not change.new.completed:
                continue
            if change.task_id is None:
                above = execution.parent_task_id
                name, since = execution.workflow_name, execution.created_at
                self._emit(execution, execution.id, above, name, change.new, since, change.at)
            else:
                self._task(execution, execution.tasks[change.task_id], change.new, change.at)

    def _task(self, execution: Execution, task: Task, state: State, at: float) -> None:
        self._emit(execution, task.id, execution.id, task.name, state, task.started_at or task.created_at, at)

    def _emit(
        self, execution: Execution, own: str, above: str | None, name: str, state: State, since: float, until: float
    ) -> None:
        from opentelemetry.sdk.trace import ReadableSpan
        from opentelemetry.trace import SpanContext, Status, StatusCode, TraceFlags

        def context(which: str) -> SpanContext:
            return SpanContext(trace_id(execution.root_id), span_id(which), False, TraceFlags(TraceFlags.SAMPLED))

        failed = state is State.ERROR
        self._processor.on_end(
            ReadableSpan(
                name,
                context(own),
                None if above is None else context(above),
                self._resource,
                {"gregale.id": own, "gregale.execution": execution.id, "gregale.state": state.value},
                status=Status(StatusCode.ERROR if failed else StatusCode.OK),
                start_time=int(since * 1e9),
                end_time=int(until * 1e9),
            )
        )
