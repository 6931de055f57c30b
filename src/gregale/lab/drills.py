"""Scenarios: what is broken on purpose while a load runs. Each has one name."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable

import httpx

from gregale.bus import BrokerSettings
from gregale.bus.amqp import AmqpBus
from gregale.bus.messages import ACTIONS, engine_queue
from gregale.lab.components import Component
from gregale.lab.drill import Drill
from gregale.lab.lab import Lab
from gregale.lab.report import Report
from gregale.lab.servers import LabError


def stable(drill: Drill) -> None:
    """Nothing is broken: what everything else is compared with."""
    drill.load.may_lose = False


def churn(drill: Drill) -> None:
    """Components come, leave and are killed every other second, down to one of each kind."""
    while drill.running:
        kind = drill.chance.choice(("engine", "executor", "api"))
        there = drill.lab.find(kind)
        if len(there) > 1 and drill.chance.random() < 0.6:
            leave(drill, drill.chance.choice(there), drill.chance.random() < 0.5)
        elif len(there) < 3:
            drill.lab.start(kind)  # type: ignore[arg-type]
        time.sleep(drill.chance.uniform(0.2, 1.0))


def leave(drill: Drill, component: Component, killed: bool) -> None:
    how = "killed" if killed else "stopped"
    with drill.fault(f"{component.kind} {how}"):
        if killed:
            component.kill()
        elif component.stop() != 0:
            drill.report.wrong.append(f"{component.name} ended with an error when it was stopped")


def graceful(drill: Drill) -> None:
    """One of each kind is replaced after another, as in an update: no action is lost."""
    drill.load.may_lose = False
    for kind in ("executor", "engine", "api"):
        for component in drill.lab.find(kind):
            drill.lab.start(component.kind)
            leave(drill, component, False)


def database_outages(drill: Drill) -> None:
    """The database goes away in every way there is."""
    drill.load.may_lose = False
    for how, seconds in (("cut", 0.1), ("stopped", 1), ("killed", 1), ("paused", 5), ("held", 5), ("cut", 5)):
        time.sleep(1.5)
        drill.outage("database", how, seconds)
    with drill.fault("replies to COMMIT lost"):
        links = drill.lab.links("database")
        for link in links:
            link.drop_replies(3)
        time.sleep(2)
        drill.lab.mend()
        drill.report.notes["replies lost"] = sum(link.lost_replies for link in links)


def broker_outages(drill: Drill) -> None:
    """The broker goes away in every way there is."""
    drill.load.may_lose = False
    for how, seconds in (("cut", 0.1), ("killed", 1), ("paused", 5), ("held", 5)):
        time.sleep(1.5)
        drill.outage("broker", how, seconds)


def wiped(drill: Drill) -> None:
    """The broker loses everything that it had."""
    drill.load.may_lose = False
    time.sleep(drill.seconds / 3)
    with drill.fault("broker wiped"):
        drill.lab.broker.kill()
        drill.lab.broker.wipe()
        drill.lab.broker.start()


def cold(drill: Drill) -> None:
    """Database, broker and every component are killed at once, and started cold."""
    time.sleep(drill.seconds / 2)
    lab = drill.lab
    numbers = {kind: len(lab.find(kind)) for kind in ("api", "engine", "executor")}
    with drill.fault("everything killed"):
        for component in lab.find():
            component.kill()
        lab.database.kill()
        lab.broker.kill()
        lab.database.start()
        lab.broker.start()
        lab.topology(numbers["api"], numbers["engine"], numbers["executor"])


def cut_off(drill: Drill) -> None:
    """One engine and one executor in turn reach the broker and not the database, and the other way round."""
    for kind in ("engine", "executor"):
        for what in ("database", "broker"):
            time.sleep(0.5)
            name = drill.lab.find(kind)[0].name
            with drill.fault(f"{kind} cut off the {what}"):
                drill.lab.outage(what, "held", 4, name)


def hung(drill: Drill) -> None:
    """Engines and executors hang beyond every lease, and go on where they were."""
    for kind in ("engine", "executor"):
        time.sleep(1)
        component = drill.lab.find(kind)[0]
        with drill.fault(f"{kind} hung"):
            component.pause()
            time.sleep(float(drill.lab.settings.get("cluster.lost_after", 15)) + 4)
            component.resume()


def both_away(drill: Drill) -> None:
    """Database and broker are away at once, for most of the drill."""
    drill.load.may_lose = False
    time.sleep(2)
    seconds = max(5.0, drill.seconds - 6)
    with drill.fault(f"database and broker away {seconds:g} s"):
        broker = threading.Thread(target=drill.lab.outage, args=("broker", "killed", seconds))
        broker.start()
        drill.lab.outage("database", "cut", seconds)
        broker.join()


def poison(drill: Drill) -> None:
    """Messages that nobody can read, expressions without end, a result of 50 MB, an action that ends its executor each time."""
    publish_junk(drill.lab)
    post = httpx.Client(base_url=drill.lab.api, timeout=30)
    post.post("/workflows", content=_POISON).raise_for_status()
    started = {}
    with drill.fault("poison"):
        for name in ("endless", "huge", "deadly"):
            key = f"{name}-{time.time_ns()}"
            post.post("/executions", json={"id": key, "workflow_name": name}).raise_for_status()
            started[key] = name
        while drill.running:
            drill.lab.topology(2, 3, 3)  # as whoever supervises the processes would
            time.sleep(0.5)
    post.close()
    drill.poisoned = started


_POISON = """
version: '2.0'
endless:
  tasks: {t: {action: std.echo, input: {output: "<% range(100000000).toList().len() %>"}}}
huge:
  tasks: {t: {action: gregale.command, safe-rerun: true, input: {argv: [sh, -c, "head -c 50000000 /dev/zero | tr '\\\\0' x"]}}}
deadly:
  tasks: {t: {action: gregale.command, safe-rerun: true, input: {argv: [sh, -c, "kill -9 $PPID"]}}}
"""


def publish_junk(lab: Lab) -> None:
    """Messages that are none, on the queues of engines and executors."""

    async def run() -> None:
        bus = AmqpBus(BrokerSettings(lab.broker.url()), time.time)
        for queue in (engine_queue(3), engine_queue(17), ACTIONS):
            await bus.publish(queue, [b"junk", b"\x82\xa1v\x63\xa1m\x80"])
        await bus.close()

    asyncio.run(run())


def lossy(drill: Drill) -> None:
    """A twentieth of all messages is lost, and some come twice or late."""
    drill.load.may_lose = False
    with drill.fault("messages lost, repeated, late"):
        drill.lab.faults(drop={"*": 0.05}, repeat={"*": 0.05}, delay={"*": [0.05, 1.0]})
        time.sleep(max(0.0, drill.seconds - drill.elapsed))
        drill.lab.faults()


def crashes(drill: Drill) -> None:
    """Processes end between commit and publish, before they acknowledge, after a claim, before a result is told; others start."""
    drill.lab.faults(die={"after_commit": 0.02, "before_ack": 0.02, "after_claim": 0.02, "after_body": 0.01})
    before = {kind: len(drill.lab.find(kind)) for kind in ("api", "engine", "executor")}
    while drill.running:
        for kind, number in before.items():
            there = len(drill.lab.find(kind))
            if there < number:
                with drill.fault(f"{kind} ended at a point of its code"):
                    drill.lab.start(kind)  # type: ignore[arg-type]
        time.sleep(0.3)
    drill.lab.faults()
    drill.lab.topology(before["api"], before["engine"], before["executor"])


def chaos(drill: Drill) -> None:
    """Anything of the above, at random: the campaign."""
    while drill.running:
        fault = drill.chance.choice(_ANY)
        try:
            fault(drill)
        except IndexError:
            pass  # nothing of that kind is there just now
        except LabError as e:
            drill.report.wrong.append(str(e))
        drill.lab.topology(2, 3, 3)
        time.sleep(drill.chance.uniform(1, 4))


def _kill_one(drill: Drill) -> None:
    leave(drill, drill.chance.choice(drill.lab.find(drill.chance.choice(("engine", "executor", "api")))), True)


def _stop_one(drill: Drill) -> None:
    leave(drill, drill.chance.choice(drill.lab.find(drill.chance.choice(("engine", "executor", "api")))), False)


def _hang_one(drill: Drill) -> None:
    component = drill.chance.choice(drill.lab.find(drill.chance.choice(("engine", "executor"))))
    with drill.fault(f"{component.kind} hung"):
        component.pause()
        time.sleep(drill.chance.uniform(1, 9))
        component.resume()


def _database_away(drill: Drill) -> None:
    how = drill.chance.choice(("cut", "stopped", "killed", "paused", "held"))
    drill.outage("database", how, drill.chance.choice((0.1, 1, 5)))


def _broker_away(drill: Drill) -> None:
    drill.outage("broker", drill.chance.choice(("cut", "killed", "paused", "held")), drill.chance.choice((0.1, 1, 5)))


def _replies_lost(drill: Drill) -> None:
    with drill.fault("replies to COMMIT lost"):
        for link in drill.lab.links("database"):
            link.drop_replies(1)
        time.sleep(1)
        drill.lab.mend()


def _one_cut_off(drill: Drill) -> None:
    component = drill.chance.choice(drill.lab.find(drill.chance.choice(("engine", "executor"))))
    what = drill.chance.choice(("database", "broker"))
    how = drill.chance.choice(("cut", "held"))
    with drill.fault(f"{component.kind} {how} off the {what}"):
        drill.lab.outage(what, how, drill.chance.choice((1, 6)), component.name)


def _messages_lost(drill: Drill) -> None:
    with drill.fault("messages lost, repeated, late"):
        drill.lab.faults(drop={"*": 0.2}, repeat={"*": 0.1}, delay={"*": [0.1, 1.0]})
        time.sleep(3)
        drill.lab.faults()


def _wipe(drill: Drill) -> None:
    with drill.fault("broker wiped"):
        drill.lab.broker.kill()
        drill.lab.broker.wipe()
        drill.lab.broker.start()


_ANY = (
    _kill_one,
    _kill_one,
    _stop_one,
    _stop_one,
    _hang_one,
    _database_away,
    _broker_away,
    _replies_lost,
    _one_cut_off,
    _messages_lost,
    _wipe,
)

SCENARIOS: dict[str, tuple[Callable[[Drill], None], float]] = {
    "stable": (stable, 10),
    "churn": (churn, 16),
    "graceful": (graceful, 10),
    "database-outages": (database_outages, 15),
    "broker-outages": (broker_outages, 15),
    "broker-wiped": (wiped, 12),
    "cold-restart": (cold, 10),
    "hung-members": (hung, 20),
    "cut-off": (cut_off, 20),
    "lossy": (lossy, 15),
    "crash-points": (crashes, 14),
    "both-away": (both_away, 66),
    "poison": (poison, 25),
    "chaos": (chaos, 60),
}
"""Scenarios by name, with the seconds that each takes when nothing else is said."""


def run(lab: Lab, name: str, seconds: float | None = None, rate: float = 8.0, seed: int = 1) -> Report:
    """Raises KeyError for a scenario that there is not."""
    scenario, usual = SCENARIOS[name]
    return Drill(lab, name, usual if seconds is None else seconds, rate, seed).run(scenario)


__all__ = ["SCENARIOS", "Drill", "run"]
