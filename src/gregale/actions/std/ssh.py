"""std.ssh and std.ssh_proxied. Their library takes longer to load than the rest of Gregale: only who uses it waits for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gregale.actions.contract import ActionError, action


@action("std.ssh")
async def ssh(
    cmd: str,
    host: str | list[str],
    username: str,
    password: str = "",
    private_key_filename: str | None = None,
    private_key: str | None = None,
    return_result_on_error: bool = False,
) -> Any:
    """Runs a command on a host, or on each of several. Result: its standard output."""
    keys = _keys(private_key_filename, private_key)
    options: dict[str, Any] = {"username": username, "password": password or None, "client_keys": keys}
    return await _on(host, cmd, options, return_result_on_error)


@action("std.ssh_proxied")
async def ssh_proxied(
    cmd: str,
    host: str | list[str],
    username: str,
    private_key_filename: str,
    gateway_host: str | None = None,
    gateway_username: str | None = None,
    proxy_command: str | None = None,
    password: str = "",
    private_key: str | None = None,
    return_result_on_error: bool = False,
) -> Any:
    """Like std.ssh, through a gateway host or a proxy command."""
    import asyncssh

    keys = _keys(private_key_filename, private_key)
    options: dict[str, Any] = {"username": username, "password": password or None, "client_keys": keys}
    if proxy_command:
        options["proxy_command"] = proxy_command
        return await _on(host, cmd, options, return_result_on_error)
    if not gateway_host:
        raise ActionError("std.ssh_proxied needs gateway_host or proxy_command")
    try:
        async with _connected(gateway_host, {**options, "username": gateway_username or username}) as gateway:
            return await _on(host, cmd, {**options, "tunnel": gateway}, return_result_on_error)
    except (asyncssh.Error, OSError) as e:
        raise ActionError(f"Failed to reach the gateway [host={gateway_host}]: {e}") from None


async def _on(host: str | list[str], cmd: str, options: dict[str, Any], tolerate: bool) -> Any:
    if isinstance(host, str):
        return await _run(cmd, host, options, tolerate)
    return [await _run(cmd, one, options, tolerate) for one in host]


async def _run(cmd: str, host: str, options: dict[str, Any], tolerate: bool) -> Any:
    import asyncssh

    try:
        async with _connected(host, options) as connection:
            done = await connection.run(cmd, check=False)
    except (asyncssh.Error, OSError) as e:
        raise ActionError(f"Failed to execute ssh cmd [host={host}]: {e}") from None
    if done.exit_status != 0:
        if tolerate:
            return {"stdout": str(done.stdout), "stderr": str(done.stderr), "exit_code": done.exit_status}
        raise ActionError(
            f"Failed to execute ssh cmd [host={host}]: the command ended with exit code {done.exit_status}"
        )
    if tolerate:
        return {"stdout": str(done.stdout), "stderr": str(done.stderr), "exit_code": 0}
    return str(done.stdout)


def _connected(host: str, options: dict[str, Any]) -> Any:
    """Host keys are not checked, as the language defines this action; a port may follow the name: `host:2222`."""
    import asyncssh

    name, _, port = host.rpartition(":") if host.count(":") == 1 else (host, "", "")
    return asyncssh.connect(
        name, port=int(port) if port else 22, known_hosts=None, **{k: v for k, v in options.items() if v is not None}
    )


def _keys(filename: str | None, text: str | None) -> Any:
    if text:
        import asyncssh

        return [asyncssh.import_private_key(text)]
    if filename:
        path = Path(filename)
        return [str(path if path.is_absolute() else Path("~/.ssh").expanduser() / path)]
    return None
