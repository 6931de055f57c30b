"""Real servers and real processes, broken on purpose under load: everything ends right, and the checks can fail.

Each group of tests shares one lab; a drill begins with the same number of processes, whatever the one before has left.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from gregale.cli.lab import lab as lab_command
from gregale.lab import Lab, LabError, checks, drills
from gregale.lab.drills import SCENARIOS, Drill
from gregale.lab.flood import flood
from gregale.lab.load import Operation
from gregale.lab.report import Report
from gregale.lab.share import Share
from gregale.store import Database
from gregale.store.schema import executions

TOPOLOGY = {"apis": 2, "engines": 3, "executors": 3}


def started(database: Any) -> Iterator[Lab]:
    try:
        with Lab(database) as lab:
            yield lab
    except LabError as e:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(e))


@pytest.fixture(scope="module")
def postgresql_lab() -> Iterator[Lab]:
    yield from started("postgresql")


@pytest.fixture(scope="module")
def mariadb_lab() -> Iterator[Lab]:
    yield from started("mariadb")


def drilled(lab: Lab, name: str, seconds: float | None = None, rate: float = 3.0, needs_faults: bool = True) -> Report:
    lab.topology(**TOPOLOGY)
    report = drills.run(lab, name, seconds, rate)
    failures = report.failures(needs_faults)
    assert failures == [], "\n".join([*failures, lab.logs()])
    return report


@pytest.mark.xdist_group("lab-postgresql")
class TestOnPostgreSQL:
    def test_a_changing_topology_finishes_two_hundred_executions_of_all_shapes(self, postgresql_lab: Lab) -> None:
        report = drilled(postgresql_lab, "churn", 28, 8)
        assert report.executions >= 200

    @pytest.mark.parametrize(
        "name",
        [
            "cut-off",
            "database-outages",
            "broker-wiped",
            "crash-points",
        ],
    )
    def test_everything_ends_right(self, postgresql_lab: Lab, name: str) -> None:
        drilled(postgresql_lab, name)

    def test_a_graceful_stop_shows_clients_a_refused_connection_at_the_most(self, postgresql_lab: Lab) -> None:
        report = drilled(postgresql_lab, "graceful")
        # a connection that the kernel had taken, and the process not yet, is reset: refused, in other words
        assert set(report.refusals) <= {"ConnectError", "ReadError"}
        assert report.states == {"SUCCESS": report.executions}

    # What these checks would miss, if they could not fail ---------------------------------------------------------------

    def test_without_claims_unsafe_actions_run_twice_and_it_is_seen(self, postgresql_lab: Lab) -> None:
        postgresql_lab.topology(**TOPOLOGY)

        def repeated(drill: Drill) -> None:
            with drill.fault("every request twice, and no claims"):
                drill.lab.faults(repeat={"run_action": 1.0}, without=["claim"])
                time.sleep(drill.seconds - drill.elapsed)

        report = Drill(postgresql_lab, "no-claims", 6, 8).run(repeated)
        assert report.duplicates > 0

    def test_without_sweeps_lost_messages_leave_work_stuck_and_it_is_seen(self, postgresql_lab: Lab) -> None:
        postgresql_lab.topology(**TOPOLOGY)
        without = [f"sweep:{kind}" for kind in ("unheld", "unstarted", "idle", "timers", "abandoned", "results")]

        def losing(drill: Drill) -> None:
            with drill.fault("a third of all messages lost, and no sweeps"):
                drill.lab.faults(drop={"*": 0.3}, without=without)
                time.sleep(drill.seconds - drill.elapsed)

        drill = Drill(postgresql_lab, "no-sweeps", 5, 8)
        drill.mend_faults = False
        report = drill.run(losing, rest=8)
        assert report.stuck
        assert any(f.startswith("stuck") for f in report.failures())
        postgresql_lab.faults()
        until(lambda: not running(postgresql_lab), 60)

    def test_rows_that_break_an_invariant_are_seen(self, postgresql_lab: Lab) -> None:
        postgresql_lab.topology(1, 1, 1)
        drills.run(postgresql_lab, "stable", 2, 4)
        database = Database(postgresql_lab.url)

        def spoil(connection: Any, state: str) -> str:
            key = connection.scalar(sa.select(executions.c.id).where(executions.c.workflow_name == "sequence"))
            connection.execute(executions.update().where(executions.c.id == key).values(state=state))
            return str(key)

        database.write(spoil, "RUNNING")
        broken = [check for check in database.read(checks.rest) if check.broken]
        assert [check.name for check in broken] == ["I5, I7: counters and states as the core needs them"]
        database.write(spoil, "SUCCESS")
        database.close()


@pytest.mark.xdist_group("lab-mariadb")
class TestOnMariaDB:
    @pytest.mark.parametrize("name", ["database-outages", "broker-outages", "cold-restart", "lossy", "hung-members"])
    def test_everything_ends_right(self, mariadb_lab: Lab, name: str) -> None:
        drilled(mariadb_lab, name)

    def test_poison_ends_what_it_poisons_and_nothing_else(self, mariadb_lab: Lab) -> None:
        report = drilled(
            mariadb_lab, "poison"
        )  # what was not poisoned ends right; some unsafe actions lose their executor
        assert report.states["SUCCESS"] > 0.9 * report.executions
        assert float(report.notes["longest pause"].split()[0]) < 5.0
        letters = httpx.get(f"{mariadb_lab.api}/cluster/dead_letters", timeout=30).json()["dead_letters"]
        assert {letter["queue"] for letter in letters} == {"engine.3", "engine.17", "actions"}

    def test_a_late_result_is_shown_and_not_accepted(self, mariadb_lab: Lab) -> None:
        lab = mariadb_lab
        lab.topology(1, 1, 1)
        http = httpx.Client(base_url=lab.api, timeout=30)
        http.post(
            "/workflows",
            content="version: '2.0'\nlate: {tasks: {t: {action: gregale.command, input: {argv: [sleep, '2']}}}}",
        )
        key = http.post("/executions", json={"workflow_name": "late"}).json()["id"]
        [executor] = lab.find("executor")
        until(lambda: http.get("/action_executions", params={"state": "RUNNING"}).json()["action_executions"])
        time.sleep(0.5)  # the command's own work has begun
        executor.pause()
        until(lambda: http.get(f"/executions/{key}").json()["state"] == "ERROR")
        assert "Lost: the executor" in http.get(f"/executions/{key}").json()["state_info"]
        executor.resume()

        def late() -> bool:
            found = http.get("/action_executions", params={"workflow_name": "late"}).json()["action_executions"]
            return any("A result came late, and was not accepted: it succeeded" in str(a["state_info"]) for a in found)

        until(late)
        assert http.get(f"/executions/{key}").json()["state"] == "ERROR"
        http.close()

    def test_a_stable_topology_finishes_two_hundred_executions_of_all_shapes(self, mariadb_lab: Lab) -> None:
        report = drilled(mariadb_lab, "stable", 30, 8, needs_faults=False)
        assert report.executions >= 200
        assert report.states == {"SUCCESS": report.executions}
        assert "deadlock" not in mariadb_lab.logs().lower()


@pytest.mark.xdist_group("lab-apart")
class TestApart:
    """What takes long, beside the others."""

    def test_a_minute_without_database_and_broker(self, mariadb_lab: Lab) -> None:
        report = drilled(mariadb_lab, "both-away", 66, rate=2)
        assert report.states == {"SUCCESS": report.executions}

    def test_overload_is_refused_and_what_was_accepted_completes(self, mariadb_lab: Lab) -> None:
        lab = mariadb_lab
        lab.topology(apis=0, engines=0, executors=0)
        lab.settings["api.max_waiting"] = 40
        lab.topology(apis=1, engines=1, executors=1)
        share = Share(
            lab.find("engine")[0].process.pid, 0.1
        )  # however busy the machine is, the clients are ten times as fast
        result = flood(lab, seconds=30, at_once=48)
        share.close()
        assert result.accepted > 20, result
        assert result.refused > result.accepted, result  # far more than can be done
        assert result.other == 0, result
        assert result.retry_after, "a refusal says when to come back"
        assert result.unfinished == 0, result
        assert result.growth_mb < 150, result
        assert result.answer_after < 5.0, "it has recovered by itself"
        print(result)
        del lab.settings["api.max_waiting"]
        lab.topology(apis=0, engines=0, executors=0)


def test_a_drill_that_breaks_nothing_or_in_which_little_succeeds_has_shown_nothing() -> None:
    fine = Report("x", "postgresql", executions=10, states={"SUCCESS": 10})
    assert fine.failures(needs_faults=False) == []
    assert fine.failures() == ["no fault was made: this drill has shown nothing"]
    poor = Report("x", "postgresql", executions=10, states={"SUCCESS": 2, "ERROR": 8})
    assert poor.failures(needs_faults=False) == ["only 2 of 10 executions succeeded"]
    nothing = Report("x", "postgresql")
    assert nothing.failures(needs_faults=False) != []


def test_a_history_tells_confirmed_from_refused_and_unknown(tmp_path: Path) -> None:
    def started(key: str, result: Any) -> Operation:
        return Operation("start", key, 0.0, 1.0, result)

    def read(*keys: str) -> list[Operation]:
        return [Operation("read", key, 2.0, 2.0, "ok", "SUCCESS") for key in keys]

    starts = [started("a", "unknown"), started("a", "ok"), started("b", "failed"), started("c", "unknown")]
    assert checks.history([*starts, *read("a")]).broken == ()
    assert checks.history([*starts, *read("a", "c")]).broken == ()
    assert checks.history(starts).broken == ("a: confirmed, and not there",)
    wrong = [*starts, *read("a", "b")]
    assert checks.history(wrong).broken == ("b: refused, and there",)
    for number, operations in enumerate((wrong, [*starts, *read("a")])):  # the same from a file, by the command
        file = tmp_path / f"{number}.jsonl"
        file.write_bytes(b"\n".join(msgspec.json.encode(o) for o in operations))
        said = CliRunner().invoke(lab_command, ["check", str(file)])
        assert (said.exit_code, "b: refused, and there" in said.output) == ((1, True), (0, False))[number]
    assert "no history" in CliRunner().invoke(lab_command, ["check", str(tmp_path / "none")]).output


def test_every_scenario_says_what_it_does() -> None:
    assert all(scenario.__doc__ for scenario, _ in SCENARIOS.values())


def running(lab: Lab) -> list[Any]:
    found: list[Any] = httpx.get(f"{lab.api}/executions", params={"state": "RUNNING"}, timeout=30).json()["executions"]
    return found


def until(condition: Any, seconds: float = 40) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)
