"""Logs as events with fields: for people on a console, or one JSON object a line.

Whatever logs with the standard library goes through here. `context` adds fields to every line of the work inside it.
"""

from __future__ import annotations

import asyncio
import faulthandler
import logging
import sys
from typing import Any

import structlog

context = structlog.contextvars.bound_contextvars


def set_up(level: str, form: str, kind: str, name: str) -> None:
    """Raises SystemExit for a level or a format that there is not."""
    if level.upper() not in ("DEBUG", "INFO", "WARNING", "ERROR"):
        raise SystemExit(f"error: --log-level is debug, info, warning or error, not {level}")
    if form not in ("console", "json"):
        raise SystemExit(f"error: --log-format is console or json, not {form}")
    render: Any = (
        structlog.processors.JSONRenderer()
        if form == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    rendered: list[Any] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    if form == "json":
        rendered.append(structlog.processors.format_exc_info)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=[*rendered, render]))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    structlog.contextvars.bind_contextvars(member=name, kind=kind)


def dump() -> None:
    """Say what every task and thread is at, for who wonders why nothing moves (SIGUSR2)."""
    for task in asyncio.all_tasks():
        task.print_stack(limit=6, file=sys.stderr)
    faulthandler.dump_traceback(all_threads=True, file=sys.stderr)
