"""Actions that need nothing and no time are carried out while deciding."""

from __future__ import annotations

from typing import Any

import pytest

from gregale.bus import decode
from gregale.core import Execution
from gregale.engine import EngineSettings
from gregale.service import Service, ServiceSettings
from tests.engine.test_engine import finished, start, upload


async def run(text: str, inline: bool = True) -> tuple[Execution, list[str]]:
    """How an execution of `wf` ends, and the kinds of messages that it took."""
    sent: list[str] = []
    async with Service(ServiceSettings(engine=EngineSettings(inline=inline))) as service:
        original = service.bus.publish

        async def publish(queue: str, bodies: Any) -> None:
            sent.extend(type(decode(body)).__name__ for body in bodies)
            await original(queue, bodies)

        service.bus.publish = publish  # type: ignore[method-assign]
        await upload(service, text)
        return await finished(service, await start(service)), sent


CHAIN = "".join(
    f"    t{i}: {{action: std.echo output=<% $.n %>, publish: {{n: <% task().result + 1 %>}}, on-success: t{i + 1}}}\n"
    for i in range(200)
)


async def test_a_chain_of_trivial_actions_needs_no_message() -> None:
    found, sent = await run(
        f"wf:\n  vars: {{n: 0}}\n  output: {{n: <% $.n %>}}\n  tasks:\n{CHAIN}    t200: {{action: std.noop}}\n"
    )
    assert (found.state, found.output) == ("SUCCESS", {"n": 200})
    assert {c.state for c in found.children.values()} == {"SUCCESS"}
    assert len(found.children) == 201
    assert sent == []


async def test_an_engine_may_be_told_to_leave_them_to_executors() -> None:
    found, sent = await run("wf: {tasks: {a: {action: std.noop}}}", inline=False)
    assert found.state == "SUCCESS"
    assert sent == ["StartMessage", "RunActionMessage", "ActionFinished"]


@pytest.mark.parametrize(
    "task",
    [
        "{action: std.echo, input: {output: 1, delay: 0.01}}",
        "{action: std.noop, target: nobody-else}",
        "{action: std.test_dict size=1}",
    ],
)
async def test_what_takes_time_or_has_a_place_of_its_own_is_for_executors(task: str) -> None:
    sent: list[str] = []
    async with Service(ServiceSettings(name="nobody-else")) as service:
        original = service.bus.publish

        async def publish(queue: str, bodies: Any) -> None:
            sent.extend(type(decode(body)).__name__ for body in bodies)
            await original(queue, bodies)

        service.bus.publish = publish  # type: ignore[method-assign]
        await upload(service, f"wf: {{tasks: {{a: {task}}}}}")
        assert (await finished(service, await start(service))).state == "SUCCESS"
    assert "RunActionMessage" in sent


async def test_failures_and_items_and_ad_hoc_actions_end_as_they_do_with_executors() -> None:
    text = """
wf:
  output: {items: <% task(i).result %>, error: <% task(f).result %>}
  output-on-error: {error: <% task(f).result %>}
  tasks:
    i: {with-items: "n in <% range(100) %>", action: std.echo output=<% $.n %>, on-success: f}
    f: {action: std.fail, retry: {count: 2, delay: 0}}
"""
    ended = [await run(text, inline) for inline in (True, False)]

    def shown(found: Execution) -> Any:
        by_name = {t.name: t for t in found.tasks.values()}
        errors = [str(c.output).replace(c.id, "ID") for c in found.children.values() if c.task_id == by_name["f"].id]
        return found.state, {n: t.state for n, t in by_name.items()}, errors

    assert shown(ended[0][0]) == shown(ended[1][0])
    assert ended[0][0].state == "ERROR"
    assert len([c for c in ended[0][0].children.values() if c.name == "std.fail"]) == 3
    assert "RunActionMessage" not in ended[0][1]
