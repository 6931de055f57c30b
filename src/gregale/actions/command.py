"""gregale.command: a local command, killed with everything it started when its time is up or the action is cancelled."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress
from typing import Any

from gregale.actions.contract import ActionContext, ActionError, Result, action


@action("gregale.command")
async def command(
    context: ActionContext,
    argv: list[str],
    env: dict[str, str] | None = None,
    cwd: str | None = None,
    input: str | None = None,  # noqa: A002 - the parameter's name in the language
    timeout: float | None = None,
    max_output: int | None = None,
    check: bool = True,
) -> Any:
    """Run a program. Result: exit_code, stdout, stderr (text), truncated. A non-zero exit fails unless `check` is false.

    `argv` is a list, no shell in between. `env` is added to the executor's environment. `timeout` in seconds.
    `max_output` bounds stdout and stderr each, in bytes.
    """
    settings = context.settings.command
    if settings.executors and context.executor not in settings.executors:
        raise ActionError(
            f"gregale.command is not allowed on the executor '{context.executor}'; use target: {', '.join(settings.executors)}"
        )
    if not isinstance(argv, list) or not argv:
        raise ActionError("argv must be a non-empty list of strings")
    limit = min(max_output or settings.max_output_bytes, settings.max_output_bytes)
    try:
        process = await asyncio.create_subprocess_exec(
            *[str(a) for a in argv],
            stdin=asyncio.subprocess.PIPE if input is not None else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, **{k: str(v) for k, v in (env or {}).items()}},
            cwd=cwd,
            start_new_session=True,
        )
    except OSError as e:
        raise ActionError(f"Cannot run {argv[0]!r}: {e.strerror or e}") from None
    try:
        async with asyncio.timeout(timeout):
            out, err, _ = await asyncio.gather(
                _read(process.stdout, limit), _read(process.stderr, limit), _feed(process, input)
            )
            code = await process.wait()
    except TimeoutError:
        return Result(
            error={"exit_code": None, "stdout": "", "stderr": f"killed after {timeout} s", "truncated": False}
        )
    finally:
        _kill_group(process)
        await process.wait()
        process._transport.close()  # type: ignore[attr-defined] # noqa: SLF001 - lets go of pipes that an escaped child holds
    result = {
        "exit_code": code,
        "stdout": out[0].decode(errors="replace"),
        "stderr": err[0].decode(errors="replace"),
        "truncated": out[1] or err[1],
    }
    return Result(error=result) if check and code != 0 else result


async def _read(stream: asyncio.StreamReader | None, limit: int) -> tuple[bytes, bool]:
    """The first `limit` bytes; the rest is read and dropped, so that the program does not block on a full pipe."""
    kept = bytearray()
    truncated = False
    while stream is not None and (chunk := await stream.read(65536)):
        room = limit - len(kept)
        kept += chunk[:room]
        truncated = truncated or len(chunk) > room
    return bytes(kept), truncated


async def _feed(process: asyncio.subprocess.Process, text: str | None) -> None:
    if process.stdin is None or text is None:
        return
    with suppress(BrokenPipeError, ConnectionResetError):
        process.stdin.write(text.encode())
        await process.stdin.drain()
    process.stdin.close()


def _kill_group(process: asyncio.subprocess.Process) -> None:
    """The whole process group: children that outlive the program too."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
