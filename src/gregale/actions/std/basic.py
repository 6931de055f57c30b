"""Actions that need nothing outside."""

from __future__ import annotations

import asyncio
import math
from typing import Any

from gregale.actions.contract import ActionError, Result, action


@action("std.noop", idempotent=True, trivial=True)
async def noop() -> None:
    """Does nothing."""


@action("std.async_noop", is_sync=False, idempotent=True)
async def async_noop() -> None:
    """Never ends by itself: somebody completes it through the API."""


@action("std.echo", idempotent=True, trivial=True)
async def echo(output: Any, delay: Any = 0) -> Any:
    """Gives back `output`, after `delay` seconds."""
    await _pause(delay)
    return output


@action("std.fail", idempotent=True, trivial=True)
async def fail(error_data: Any = None) -> Any:
    """Fails, with `error_data` as the error."""
    if error_data:
        return Result(error=error_data)
    raise ActionError("Fail action expected exception.")


@action("std.sleep", idempotent=True)
async def sleep(seconds: Any = 1) -> None:
    """Sleeps for `seconds`."""
    await _pause(seconds)


@action("std.test_dict", idempotent=True)
async def test_dict(size: int = 0, key_prefix: str = "", val: Any = "") -> dict[str, Any]:
    """A map of `size` entries `<key_prefix><n>: val`, for load tests."""
    return {f"{key_prefix}{i}": val for i in range(size)}


async def _pause(seconds: Any) -> None:
    if wanted := pause_seconds(seconds):
        await asyncio.sleep(wanted)


def pause_seconds(seconds: Any) -> float:
    """Seconds to wait; what is not a number, or negative, is 0."""
    try:
        value = float(seconds)
    except (TypeError, ValueError):
        return 0.0
    return value if math.isfinite(value) and value > 0 else 0.0
