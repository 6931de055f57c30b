"""Parts of records as the API shows them, worked out from rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gregale.store import rows


def runtime_context(progress: str) -> dict[str, Any]:
    """What language spec 5.11 and 6.2 record of a task's progress."""
    p = rows.progress_of(progress)
    result: dict[str, Any] = dict(p.policies)
    if p.triggered_by:
        result["triggered_by"] = [{"task_id": source, "event": clause} for source, clause in p.triggered_by]
    if p.items is not None:
        result["with_items"] = {"count": p.items.count, "capacity": p.items.capacity}
    return result


def task_result(children: Sequence[Any], with_items: bool) -> Any:
    """The result of a task from the rows of what it ran, in order (language spec 4.6)."""
    accepted = [c for c in children if c.accepted]
    if with_items:
        accepted.sort(key=lambda c: (c.item, c.seq))
    elif len(accepted) == 1:
        return rows.decode(accepted[0].output)
    return [rows.decode(c.output) for c in accepted]
