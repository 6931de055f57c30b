"""std.http and std.mistral_http."""

from __future__ import annotations

from typing import Any
from urllib.parse import urljoin

import httpx
import msgspec

from gregale.actions import egress
from gregale.actions.contract import ActionContext, ActionError, Result, action
from gregale.actions.settings import HttpSettings

_MAX_REDIRECTS = 20


@action("std.http")
async def http(
    context: ActionContext,
    url: str,
    method: str = "GET",
    params: Any = None,
    body: Any = None,
    json: Any = None,
    headers: dict[str, Any] | None = None,
    cookies: dict[str, str] | None = None,
    auth: Any = None,
    timeout: float | None = None,
    allow_redirects: bool | None = None,
    proxies: dict[str, str] | str | None = None,
    verify: bool | str | None = None,
) -> Result:
    """Sends a request. Status 200 to 306 is a success; any other is an error with the same map as result."""
    return await _send(
        context.settings.http,
        url,
        method,
        params,
        body,
        json,
        headers,
        cookies,
        auth,
        timeout,
        allow_redirects,
        proxies,
        verify,
    )


@action("std.mistral_http", is_sync=False)
async def mistral_http(
    context: ActionContext,
    url: str,
    method: str = "GET",
    params: Any = None,
    body: Any = None,
    json: Any = None,
    headers: dict[str, Any] | None = None,
    cookies: dict[str, str] | None = None,
    auth: Any = None,
    timeout: float | None = None,
    allow_redirects: bool | None = None,
    proxies: dict[str, str] | str | None = None,
    verify: bool | str | None = None,
) -> Result:
    """Like std.http, and ends when the other side calls back; a bad status fails at once."""
    tagged = {
        **(headers or {}),
        "Mistral-Workflow-Name": context.workflow_name,
        "Mistral-Workflow-Execution-Id": context.workflow_execution_id,
        "Mistral-Task-Id": context.task_execution_id,
        "Mistral-Action-Execution-Id": context.action_execution_id,
        "Mistral-Callback-URL": context.callback_url,
    }
    return await _send(
        context.settings.http,
        url,
        method,
        params,
        body,
        json,
        tagged,
        cookies,
        auth,
        timeout,
        allow_redirects,
        proxies,
        verify,
    )


async def _send(
    settings: HttpSettings,
    url: str,
    method: str,
    params: Any,
    body: Any,
    json: Any,
    headers: dict[str, Any] | None,
    cookies: dict[str, str] | None,
    auth: Any,
    timeout: float | None,
    allow_redirects: bool | None,
    proxies: Any,
    verify: bool | str | None,
) -> Result:
    if body is not None and json is not None:
        raise ActionError("Only one of the parameters 'json' and 'body' can be passed")
    content = (
        msgspec.json.encode(body) if isinstance(body, dict | list) else None if body is None else str(body).encode()
    )
    proxy = proxies if isinstance(proxies, str) else next(iter((proxies or {}).values()), None)
    async with httpx.AsyncClient(
        timeout=settings.default_timeout if timeout is None else timeout,
        verify=True if verify is None else verify,
        cookies=cookies,
        proxy=proxy,
        trust_env=False,
    ) as client:
        request = client.build_request(
            method,
            url,
            params=params,
            content=content,
            json=json,
            headers={str(k): str(v) for k, v in (headers or {}).items()},
        )
        return await _exchange(client, request, _credentials(auth), bool(allow_redirects), settings)


async def _exchange(
    client: httpx.AsyncClient, request: httpx.Request, auth: Any, follow: bool, settings: HttpSettings
) -> Result:
    """Send, and follow redirects one by one, so that each address passes the egress policy."""
    history: list[str] = []
    while True:
        await egress.check(str(request.url), settings)
        try:
            response = await client.send(request, auth=auth, stream=True)
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as e:
            raise ActionError(f"Failed to send HTTP request: {type(e).__name__}: {e}") from None
        try:
            if not (follow and response.has_redirect_location and len(history) < _MAX_REDIRECTS):
                raw = await _body(response, settings.max_response_bytes)
                break
            history.append(str(response.url))
            request = client.build_request(
                "GET" if response.status_code in (301, 302, 303) else request.method,
                urljoin(str(response.url), response.headers["location"]),
            )
        finally:
            await response.aclose()
    result = {
        "content": _content(raw, response.encoding),
        "status": response.status_code,
        "headers": dict(response.headers.items()),
        "url": str(response.url),
        "history": history,
        "encoding": response.encoding,
        "reason": response.reason_phrase,
        "cookies": dict(response.cookies.items()),
        "elapsed": response.elapsed.total_seconds(),
    }
    return Result(data=result) if 200 <= response.status_code <= 306 else Result(error=result)


async def _body(response: httpx.Response, limit: int) -> bytes:
    declared = response.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit:
        raise ActionError(
            f"Failed to send HTTP request: the response has {declared} bytes; at most {limit} are accepted"
        )
    raw = bytearray()
    try:
        async for chunk in response.aiter_bytes():
            raw += chunk
            if len(raw) > limit:
                raise ActionError(f"Failed to send HTTP request: the response is longer than {limit} bytes")
    except httpx.HTTPError as e:
        raise ActionError(f"Failed to send HTTP request: {type(e).__name__}: {e}") from None
    await response.aclose()
    return bytes(raw)


def _content(raw: bytes, encoding: str | None) -> Any:
    try:
        return msgspec.json.decode(raw)
    except msgspec.DecodeError:
        return raw.decode(encoding or "utf-8", errors="replace")


def _credentials(auth: Any) -> Any:
    if isinstance(auth, str) and ":" in auth:
        user, _, password = auth.partition(":")
        return httpx.BasicAuth(user, password)
    if isinstance(auth, list | tuple) and len(auth) == 2:
        return httpx.BasicAuth(str(auth[0]), str(auth[1]))
    return None
