"""``replay --verify`` and ``--apply`` as commands, on a real tracker."""

from __future__ import annotations

import json

from tests.acceptance.conftest import Watch, rows_of


def test_verify_says_so(watch: Watch) -> None:
    bead = watch.assigned("done twice over")
    watch.dispatch()
    ran = watch.command("replay", "--verify")
    assert (ran.code, ran.stderr) == (0, "")
    assert ran.stdout.startswith("2 of 2 entries reproduced; 0 differences")
    watch.server.sql("CALL DOLT_BRANCH('kept')", database=watch.bd.database)
    watch.committed(
        f"UPDATE watch_decision SET job_id = 'another' WHERE bead_id = '{bead}' AND kind ="
        " 'dispatched'"
    )
    ran = watch.command("replay", "--verify", "--format", "json")
    told = json.loads(ran.stdout)
    assert (ran.code, told["schema"], told["same"]) == (1, 1, 1)
    assert (bead, "row") in {(one["bead"], one["field"]) for one in told["differences"]}
    assert watch.command("replay", "--verify", *watch.on_branch("kept")).code == 0
    ran = watch.command("replay", "--verify", *watch.on_branch("kep"))
    assert (ran.code, ".dolt_branches" in ran.stderr) == (3, True)
    text = watch.command("replay", "--verify")
    assert text.code == 1 and "RECORDED" in text.stdout and bead in text.stdout


def test_after_a_flatten_what_is_gone_is_counted(watch: Watch) -> None:
    watch.assigned("before")
    watch.dispatch()
    watch.bd.run("flatten", "--force")
    watch.dispatch()
    ran = watch.command("replay", "--verify")
    assert (ran.code, "2 cannot be verified" in ran.stdout) == (0, True), ran


def test_apply(watch: Watch) -> None:
    watch.dispatch()
    before = watch.head()
    first = watch.assigned("first", "-p", "0")
    watch.dispatch()
    watch.committed(
        f"UPDATE issues SET status = 'closed' WHERE id = '{first}'", rows_of(["bd-second"])
    )
    refused = watch.command("replay", "--apply", "--from", before)
    assert (refused.code, "--yes" in refused.stderr) == (2, True)
    assert watch.command("replay", "--apply", "--yes").code == 2
    assert watch.command("replay", "--dry-run").code == 2
    head = watch.head()
    dry = watch.command("replay", "--apply", "--from", before, "--dry-run", "--set", "settle=0s")
    assert (dry.code, "would dispatch bd-second" in dry.stdout, watch.head()) == (
        0,
        True,
        head,
    ), dry
    ran = watch.command("replay", "--apply", "--from", before[:12], "--yes", "--set", "settle=0s")
    assert (ran.code, watch.sent()) == (0, [first, "bd-second"]), ran
    assert watch.kinds("") == ["reprocess"]
    assert watch.command("replay", "--verify").code == 0
