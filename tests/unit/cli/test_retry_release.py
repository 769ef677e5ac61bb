"""`dolt_watch retry` and `release` as processes: entries, later decisions and refusals."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta

import pytest

from dolt_watch.core.model.target_answers import Refused, Unknown
from dolt_watch.engines.address import FileAddress
from dolt_watch.replay.verification import verify
from tests.support.commands import Commands, commands

pytestmark = pytest.mark.long

NO = Refused("HTTP 400: no", 400, permanent=True)
NOT_KNOWN = Unknown("no answer")
AGO = timedelta(hours=-3)


@pytest.fixture
def cli(doltlite_path: FileAddress) -> Iterator[Commands]:
    with commands(doltlite_path) as made:
        made.here.tick(AGO)
        yield made


def stuck(cli: Commands, *answers: object, hours: float = 0.0) -> None:
    """Dispatch one bead for each answer, beginning three hours ago.

    ``hours`` is the time of the last tick after that beginning. 0 runs no further tick.
    """
    here = cli.here
    here.target.answers.extend(answers)  # type: ignore[arg-type]
    for number in range(len(answers)):
        here.assign(f"bd-{number}")
        here.tick(AGO + timedelta(minutes=1 + number))
        if here.kinds(f"bd-{number}")[-1:] == ["unknown"]:
            here.change(max_in_flight=9)
    if hours:
        here.tick(AGO + timedelta(hours=hours))


def phases(cli: Commands) -> dict[str, str]:
    ran = cli.run("status", "--format", "json")
    assert ran.returncode == 0, ran.stderr
    return {one["bead"]: one["phase"] for one in json.loads(ran.stdout)["beads"]}


def verified(cli: Commands) -> None:
    found = verify(cli.here.past())
    assert not found.differences and not found.unverifiable
    study = cli.run("replay", "--format", "json")
    assert study.returncode == 0, study.stderr


def test_a_quarantined_bead_is_due_now_and_goes(cli: Commands) -> None:
    stuck(cli, NO)
    assert phases(cli) == {"bd-0": "quarantined"}
    ran = cli.run("retry", "bd-0", "--reason", "the criteria are right")
    assert (ran.returncode, ran.stdout, ran.stderr) == (
        0,
        "bd-0: due now (it was quarantined)\n",
        "",
    )
    assert phases(cli) == {"bd-0": "waiting"}
    again = cli.run("retry", "bd-0")
    assert (again.returncode, again.stdout) == (0, "bd-0 is already waiting: nothing to do\n")
    assert cli.here.kinds("bd-0") == ["claim", "quarantined", "manual-retry"]
    ((actor, detail),) = cli.here.engine.query(
        "SELECT actor, detail FROM watch_decision WHERE kind = 'manual-retry'"
    )
    assert actor == json.loads(detail)["by"]
    (notes, status) = cli.here.row("bd-0", "notes", "status")
    assert status == "open"
    assert notes.splitlines()[-1] == f"dispatch retried by {actor}: the criteria are right"
    wrote = cli.here.engine.query("SELECT COUNT(*) FROM events WHERE actor = ?", (actor,))
    assert wrote == [(1,)], "bd's own row of events names the person too"
    cli.here.tick(timedelta(minutes=1))
    assert cli.here.kinds("bd-0")[-2:] == ["claim", "dispatched"]
    verified(cli)


def test_what_dolt_watch_blocked_is_open_again_and_goes(cli: Commands) -> None:
    stuck(cli, NOT_KNOWN, hours=1)
    assert cli.here.kinds("bd-0")[-1] == "give-up"
    assert phases(cli) == {}
    assert cli.run("retry", "bd-0").stdout == "bd-0: due now (it was blocked)\n"
    assert cli.here.row("bd-0", "status") == ("open",)
    cli.here.tick(timedelta(minutes=1))
    assert cli.here.kinds("bd-0")[-2:] == ["claim", "dispatched"]
    verified(cli)


def test_an_unknown_attempt_needs_a_person_s_word(cli: Commands) -> None:
    stuck(cli, NOT_KNOWN)
    ran = cli.run("retry", "bd-0")
    assert (ran.returncode, ran.stdout) == (1, "")
    assert "may be working on it, and a retry would start a second agent" in ran.stderr
    assert "dolt_watch retry bd-0 --not-running`." in ran.stderr
    assert cli.here.kinds("bd-0") == ["claim", "unknown"]
    assert cli.run("retry", "bd-0", "--not-running").returncode == 0
    assert phases(cli) == {"bd-0": "waiting"}
    assert cli.here.row("bd-0", "status") == ("open",)
    cli.here.tick(timedelta(minutes=1))
    assert cli.here.target.sent == ["bd-0", "bd-0"]
    verified(cli)


def test_a_released_bead_is_a_person_s_own_and_its_slot_is_free(cli: Commands) -> None:
    cli.here.assign("bd-0")
    cli.here.tick(AGO)
    cli.here.assign("bd-1")
    cli.here.tick(AGO + timedelta(minutes=1))
    assert cli.here.target.sent == ["bd-0"], "there is one slot"
    assert cli.run("release", "bd-0", "--reason", "mine").returncode == 0
    assert cli.here.row("bd-0", "status") == ("in_progress",)
    assert phases(cli) == {"bd-0": "running", "bd-1": "waiting"}
    again = cli.run("release", "bd-0")
    assert (again.returncode, again.stdout) == (
        0,
        "bd-0 is already a user's own work: nothing to do\n",
    )
    cli.here.tick(timedelta(minutes=1), reap=False)
    assert cli.here.target.sent == ["bd-0", "bd-1"]
    verified(cli)


def test_all_of_a_rule(cli: Commands) -> None:
    stuck(cli, NO, NOT_KNOWN, NO)
    ran = cli.run("retry", "--all", "--rule", "agent")
    assert ran.stdout.splitlines() == [
        "bd-0: due now (it was quarantined)",
        "bd-2: due now (it was quarantined)",
    ]
    assert (ran.returncode, "bd-1 is unknown" in ran.stderr) == (1, True)
    assert cli.run("retry", "--all", "--not-running").returncode == 0
    done = cli.run("retry", "--all")
    assert (done.returncode, done.stdout) == (
        0,
        "no bead is quarantined, held, unknown, or blocked by dolt_watch\n",
    )


def test_the_state_made_anew_from_history_knows_of_both(cli: Commands) -> None:
    stuck(cli, NO, NOT_KNOWN)
    assert cli.run("retry", "bd-0").returncode == 0
    assert cli.run("release", "bd-1").returncode == 0
    before = phases(cli)
    assert before == {"bd-0": "waiting", "bd-1": "running"}
    with cli.here.engine.transaction() as tx:
        tx.execute("UPDATE watch_cursor SET rules = '{}' WHERE id = 1")
        tx.commit()
    assert phases(cli) == before


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["retry"], 2, "No bead is specified."),
        (["retry", "bd-0", "--all"], 2, "BEAD_ID and --all"),
        (["retry", "bd-0", "--rule", "agent"], 2, "--rule requires --all"),
        (["retry", "--all", "--rule", "nope"], 2, "There is no rule 'nope'."),
        (["retry", "bd-O"], 2, "did you mean bd-0"),
        (["release", "bd-O"], 2, "did you mean bd-0"),
        (["release"], 2, "The argument BEAD_ID… is missing."),
        (["retry", "bd-0", "--reason", " "], 2, "The reason is empty."),
        (["release", "bd-0"], 1, "bd-0 is quarantined and occupies no slot."),
    ],
)
def test_what_is_refused_writes_nothing(
    cli: Commands, arguments: list[str], code: int, said: str
) -> None:
    stuck(cli, NO)
    before = cli.decisions()
    ran = cli.run(*arguments)
    assert (ran.returncode, cli.decisions()) == (code, before), ran.stderr
    assert said in ran.stderr and "Traceback" not in ran.stderr


def test_it_works_while_paused_and_the_pause_goes_on_holding(cli: Commands) -> None:
    stuck(cli, NO)
    assert cli.run("pause", "lunch").stdout.startswith("paused all rules, until resumed")
    assert cli.run("retry", "bd-0").returncode == 0
    cli.here.tick(timedelta(minutes=1))
    assert cli.here.kinds("bd-0")[-1] == "manual-retry"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["lunch"], "lunch"),
        (["--reason", "lunch"], "lunch"),
        ([], "no reason given"),
    ],
)
def test_a_pause_takes_its_reason_as_an_argument(
    cli: Commands, arguments: list[str], reason: str
) -> None:
    ran = cli.run("pause", *arguments)
    assert (ran.returncode, ran.stdout.strip().endswith(f": {reason}")) == (0, True), ran
    twice = cli.run("pause", "lunch", "--reason", "dinner")
    assert (twice.returncode, "specified twice" in twice.stderr) == (2, True)
