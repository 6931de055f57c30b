"""What a process counts and times, for Prometheus (GET /metrics). Names and labels here, and nowhere else."""

from __future__ import annotations

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

REGISTRY = CollectorRegistry()
PLATFORM = PlatformCollector(registry=REGISTRY)
PROCESS = ProcessCollector(registry=REGISTRY)

_FAST = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)

TRANSITIONS = Counter(
    "gregale_transitions_total", "Changes of state of executions and tasks", ("kind", "state"), registry=REGISTRY
)
BATCH = Histogram(
    "gregale_batch_events", "Events decided together", buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256), registry=REGISTRY
)
COMMIT = Histogram(
    "gregale_commit_seconds", "Time that a batch takes to be committed", buckets=_FAST, registry=REGISTRY
)
SWAPS_LOST = Counter("gregale_swaps_lost_total", "Executions that another commit changed first", registry=REGISTRY)
POISONED = Counter("gregale_poisoned_total", "Events that could not be decided", registry=REGISTRY)
SWEPT = Counter("gregale_sweep_found_total", "What the sweep has set going again", ("kind",), registry=REGISTRY)
PUBLISHED = Counter("gregale_published_total", "Messages that the broker has taken", ("queue",), registry=REGISTRY)
UNPUBLISHED = Counter("gregale_unpublished_total", "Messages that the broker has not confirmed", registry=REGISTRY)
REDELIVERED = Counter("gregale_redelivered_total", "Messages that came again", ("queue",), registry=REGISTRY)
BURIED = Counter("gregale_dead_letters_total", "Messages that could not be handled", registry=REGISTRY)
WAITING = Gauge("gregale_inbox_events", "Events that wait to be decided here", registry=REGISTRY)
PARTITIONS = Gauge("gregale_partitions_owned", "Partitions that this engine owns", registry=REGISTRY)
RETRIED = Counter("gregale_database_retries_total", "Transactions tried again", ("kind",), registry=REGISTRY)
QUEUED = Gauge("gregale_actions_queued", "Requests for actions that wait for an executor", registry=REGISTRY)
REFUSED = Counter("gregale_starts_refused_total", "Starts refused because too many wait", registry=REGISTRY)
ACTIONS = Counter("gregale_actions_total", "Actions that ended here", ("outcome",), registry=REGISTRY)
RUNNING = Gauge("gregale_actions_running", "Actions that run here", registry=REGISTRY)
NOTIFICATIONS = Counter("gregale_notifications_total", "Attempts to send", ("outcome",), registry=REGISTRY)
CRON = Counter("gregale_cron_fired_total", "Due times of cron triggers that were fired", registry=REGISTRY)
REQUESTS = Histogram(
    "gregale_http_request_seconds", "Time to answer", ("method", "route", "status"), buckets=_FAST, registry=REGISTRY
)


def text() -> tuple[bytes, str]:
    """All of them in Prometheus's text format, and its content type."""
    return generate_latest(REGISTRY), CONTENT_TYPE_LATEST
