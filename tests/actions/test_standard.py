"""The standard actions (language spec 7.2), each for real against a server of the test's own."""

from __future__ import annotations

import asyncio
import http.server
import json
import threading
import time
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from gregale.actions import ActionContext, ActionSettings, CommandSettings, HttpSettings, Registry, Result
from gregale.executor.run import Actions, run

OPEN = HttpSettings(denied_cidrs=())
CONTEXT = ActionContext(
    "action-id",
    "execution-id",
    "wf",
    "task-id",
    1,
    "here",
    ActionSettings(http=OPEN, command=CommandSettings(enabled=True)),
)
REGISTRY = Registry(CONTEXT.settings)


def call(name: str, within: ActionContext = CONTEXT, /, **given: Any) -> Result | None:
    return asyncio.run(run(Actions(REGISTRY), name, given, within))


def data(name: str, **given: Any) -> Any:
    result = call(name, **given)
    assert result is not None
    assert result.error is None, result.error
    return result.data


def error(name: str, **given: Any) -> Any:
    result = call(name, **given)
    assert result is not None
    assert result.error is not None
    return result.error


def test_the_standard_set_is_complete() -> None:
    names = {
        f"std.{n}"
        for n in (
            "async_noop",
            "echo",
            "email",
            "fail",
            "http",
            "javascript",
            "js",
            "mistral_http",
            "noop",
            "sleep",
            "ssh",
            "ssh_proxied",
            "test_dict",
        )
    }
    assert names <= set(REGISTRY.names())


def test_noop_echo_fail_sleep_and_test_dict() -> None:
    assert data("std.noop") is None
    assert data("std.echo", output={"a": [1]}) == {"a": [1]}
    assert data("std.echo", output=1, delay="bad") == 1
    assert data("std.echo", output=1, delay=-3) == 1
    assert (
        error("std.fail")
        == "The action raised an exception [action=std.fail, action_ex_id=action-id, msg='Fail action expected exception.']"
    )
    assert error("std.fail", error_data={"code": 1}) == {"code": 1}
    assert data("std.sleep", seconds="x") is None
    started = time.monotonic()
    assert data("std.sleep", seconds=0.05) is None
    assert time.monotonic() - started >= 0.05
    assert data("std.test_dict", size=2, key_prefix="k", val=7) == {"k0": 7, "k1": 7}
    assert call("std.async_noop") is None


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        body = self.rfile.read(length).decode()
        path = self.path.split("?")[0]
        status = int(path[1:]) if path[1:].isdigit() else 200
        self.send_response(status)
        if status in (301, 302, 307):
            self.send_header("location", "/target")
        payload = json.dumps(
            {
                "method": self.command,
                "path": self.path,
                "body": body,
                "headers": {k.lower(): v for k, v in self.headers.items()},
            }
        ).encode()
        if path == "/text":
            payload = b"plain"
        if path == "/big":
            payload = b"x" * 3000
        self.send_header("content-length", str(len(payload)))
        self.send_header("set-cookie", "c=1")
        self.end_headers()
        self.wfile.write(payload)

    do_POST = do_PUT = do_GET

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def web() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_http_gives_the_map_of_the_specification(web: str) -> None:
    found = data("std.http", url=f"{web}/x", params={"q": "1"}, headers={"X-Number": 5}, cookies={"a": "b"}, auth="u:p")
    assert set(found) == {"content", "status", "headers", "url", "history", "encoding", "reason", "cookies", "elapsed"}
    assert (found["status"], found["reason"], found["cookies"]) == (200, "OK", {"c": "1"})
    assert found["content"]["path"] == "/x?q=1"
    assert found["content"]["headers"]["x-number"] == "5"
    assert found["content"]["headers"]["cookie"] == "a=b"
    assert found["content"]["headers"]["authorization"] == "Basic dTpw"
    assert data("std.http", url=f"{web}/text")["content"] == "plain"


def test_http_body_forms(web: str) -> None:
    assert data("std.http", url=web, method="POST", body={"a": 1})["content"]["body"] == '{"a":1}'
    assert data("std.http", url=web, method="POST", body="raw")["content"]["body"] == "raw"
    assert json.loads(data("std.http", url=web, method="PUT", json={"a": 1})["content"]["body"]) == {"a": 1}
    assert "Only one of the parameters" in error("std.http", url=web, body="x", json={})


@pytest.mark.parametrize(
    ("status", "ok"), [(200, True), (301, True), (306, True), (307, False), (404, False), (500, False)]
)
def test_http_statuses_200_to_306_are_success_and_others_an_error_with_the_same_map(
    web: str, status: int, ok: bool
) -> None:
    result = call("std.http", url=f"{web}/{status}")
    assert result is not None
    found = result.data if ok else result.error
    assert found["status"] == status
    assert (result.error is None) is ok


def test_http_follows_redirects_only_when_asked(web: str) -> None:
    found = data("std.http", url=f"{web}/302", allow_redirects=True)
    assert found["content"]["path"] == "/target"
    assert found["history"] == [f"{web}/302"]


def test_http_transport_failures_and_policies(web: str) -> None:
    assert "Failed to send HTTP request" in error("std.http", url="http://127.0.0.1:1/")
    assert "Only http and https" in error("std.http", url="file:///etc/passwd")
    for host in ("127.0.0.1", "localhost", "[::1]", "169.254.1.1"):
        strict = ActionContext(settings=ActionSettings())
        result = call("std.http", strict, url=f"http://{host}:80/")
        assert result is not None
        assert "not allowed" in result.error or "cannot resolve" in result.error
    small = ActionContext(settings=ActionSettings(http=HttpSettings(denied_cidrs=(), max_response_bytes=1000)))
    result = call("std.http", small, url=f"{web}/big")
    assert result is not None
    assert "at most 1000 are accepted" in result.error


def test_mistral_http_tells_where_to_call_back_and_a_bad_status_fails_at_once(web: str) -> None:
    seen: dict[str, Any] = {}
    found = asyncio.run(REGISTRY.get("std.mistral_http").run(CONTEXT, url=web))
    seen = found.data["content"]["headers"]
    assert seen["mistral-workflow-name"] == "wf"
    assert seen["mistral-callback-url"] == "/v2/action_executions/action-id"
    assert call("std.mistral_http", url=web) is None  # it ends when the other side calls back
    result = call("std.mistral_http", url=f"{web}/500")
    assert result is not None
    assert result.error["status"] == 500


def test_email_sends_text_and_html_to_all_recipients() -> None:
    from aiosmtpd.smtp import SMTP

    received: list[Any] = []

    class Sink:
        async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:
            received.append(envelope)
            return "250 OK"

    async def scenario() -> None:
        server = await asyncio.get_running_loop().create_server(
            lambda: SMTP(Sink(), enable_SMTPUTF8=True), "127.0.0.1", 0
        )
        port = server.sockets[0].getsockname()[1]
        given = {
            "from_addr": "a@example.org",
            "to_addrs": ["b@example.org"],
            "cc_addrs": ["c@example.org"],
            "bcc_addrs": ["d@example.org"],
            "smtp_server": f"127.0.0.1:{port}",
            "subject": "Hi",
            "body": "text",
            "html_body": "<b>x</b>",
            "reply_to": "r@example.org",
        }
        assert await run(Actions(REGISTRY), "std.email", given, CONTEXT) == Result()
        server.close()
        await server.wait_closed()

    asyncio.run(scenario())
    [envelope] = received
    from email import message_from_bytes
    from email.policy import default

    message = message_from_bytes(envelope.content, policy=default)
    assert isinstance(message, EmailMessage)
    assert envelope.rcpt_tos == ["b@example.org", "c@example.org", "d@example.org"]
    assert (message["Subject"], message["Reply-To"], message.get_content_type()) == (
        "Hi",
        "r@example.org",
        "multipart/alternative",
    )
    assert "Bcc" not in message
    assert "Failed to send an email message" in error(
        "std.email", from_addr="a@x", to_addrs=["b@x"], smtp_server="127.0.0.1:1"
    )


class _Shell(asyncssh.SSHServer):
    def begin_auth(self, username: str) -> bool:
        return True

    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        return password == "secret"

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        return True

    def connection_requested(self, *_: Any) -> bool:
        return True


def _shell(process: asyncssh.SSHServerProcess[str]) -> None:
    command = process.command or ""
    process.stdout.write(f"ran {command}\n")
    process.stderr.write("oops")
    process.exit(3 if "bad" in command else 0)


def test_ssh_runs_on_one_host_or_several_and_through_a_gateway(tmp_path: Path) -> None:
    async def scenario() -> None:
        server = await asyncssh.listen(
            "127.0.0.1",
            0,
            server_factory=_Shell,
            server_host_keys=[asyncssh.generate_private_key("ssh-ed25519")],
            process_factory=_shell,
        )
        port = server.sockets[0].getsockname()[1]
        host = f"127.0.0.1:{port}"
        key = asyncssh.generate_private_key("ssh-ed25519")
        (tmp_path / "key").write_bytes(key.export_private_key())

        async def ssh(name: str = "std.ssh", **given: Any) -> Result:
            result = await run(Actions(REGISTRY), name, {"username": "u", **given}, CONTEXT)
            assert result is not None
            return result

        assert (await ssh(cmd="ls", host=host, password="secret")).data == "ran ls\n"
        assert (await ssh(cmd="ls", host=[host, host], private_key=key.export_private_key().decode())).data == [
            "ran ls\n",
            "ran ls\n",
        ]
        assert (await ssh(cmd="ls", host=host, private_key_filename=str(tmp_path / "key"))).data == "ran ls\n"
        failed = await ssh(cmd="bad", host=host, password="secret")
        assert "exit code 3" in failed.error
        assert "oops" not in failed.error
        assert (await ssh(cmd="bad", host=host, password="secret", return_result_on_error=True)).data == {
            "stdout": "ran bad\n",
            "stderr": "oops",
            "exit_code": 3,
        }
        assert "Failed to execute ssh cmd" in (await ssh(cmd="ls", host=host, password="wrong")).error
        proxied = await ssh(
            "std.ssh_proxied", cmd="ls", host=host, gateway_host=host, private_key_filename=str(tmp_path / "key")
        )
        assert proxied.data == "ran ls\n"
        server.close()
        await server.wait_closed()

    asyncio.run(scenario())


def test_javascript_is_a_function_body_in_a_sandbox() -> None:
    for name in ("std.javascript", "std.js"):
        assert data(name, script="return $.a + 1", context={"a": 2}) == 3
    assert data("std.js", script="var x = {y: [1, 2]}; return x") == {"y": [1, 2]}
    assert data("std.js", script="1 + 1") is None
    assert "Failed to evaluate JavaScript" in error("std.js", script="throw new Error('no')")
    assert "Failed to evaluate JavaScript" in error("std.js", script="return require('fs')")


def test_command_gives_exit_code_and_output_within_limits() -> None:
    assert data(
        "gregale.command", argv=["sh", "-c", "cat; echo $V; pwd; echo err >&2"], input="in ", env={"V": "v"}, cwd="/"
    ) == {"exit_code": 0, "stdout": "in v\n/\n", "stderr": "err\n", "truncated": False}
    assert error("gregale.command", argv=["sh", "-c", "exit 3"])["exit_code"] == 3
    assert data("gregale.command", argv=["sh", "-c", "exit 3"], check=False)["exit_code"] == 3
    cut = data("gregale.command", argv=["sh", "-c", "head -c 100000 /dev/zero | tr '\\0' x"], max_output=10)
    assert (cut["stdout"], cut["truncated"]) == ("x" * 10, True)
    assert "Cannot run" in error("gregale.command", argv=["/no/such/program"])
    assert "non-empty list" in error("gregale.command", argv=[])


@pytest.mark.parametrize("how", ["timeout", "cancel"])
def test_command_is_killed_with_its_whole_process_group(how: str, tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    argv = ["sh", "-c", f"sleep 60 & echo $! > {pid_file}; wait"]

    async def scenario() -> Result | None:
        given = {"argv": argv, **({"timeout": 0.5} if how == "timeout" else {})}
        task = asyncio.create_task(run(Actions(REGISTRY), "gregale.command", given, CONTEXT))
        while not (pid_file.exists() and pid_file.read_text().strip()):
            await asyncio.sleep(0.01)
        if how == "cancel":
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            return None
        return await task

    result = asyncio.run(scenario())
    child = int(pid_file.read_text())
    deadline = time.monotonic() + 5
    while Path(f"/proc/{child}").exists() and "Z" not in Path(f"/proc/{child}/stat").read_text().split()[2]:
        assert time.monotonic() < deadline, "the child of the command still lives"
        time.sleep(0.01)
    if result is not None:
        assert "killed after" in result.error["stderr"]


def test_command_exists_only_where_it_is_allowed() -> None:
    assert "gregale.command" not in Registry().names()
    elsewhere = ActionContext(
        executor="b", settings=ActionSettings(command=CommandSettings(enabled=True, executors=("a",)))
    )
    result = call("gregale.command", elsewhere, argv=["true"])
    assert result is not None
    assert "not allowed on the executor 'b'" in result.error
