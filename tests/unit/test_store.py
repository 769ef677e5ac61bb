"""The saved state: what is saved comes back, what has left is gone, and empty records do not pile up."""

from __future__ import annotations

from datetime import timedelta

from dolt_watch import store
from dolt_watch.cli.wiring import ledger
from dolt_watch.engines import Engine
from dolt_watch.look import Looker
from dolt_watch.model import GLOBAL, Decision, Kind
from dolt_watch.store import Store
from tests.light import Light


def test_what_has_left_is_gone_and_swept(doltlite: Engine) -> None:
    here = Light(doltlite)
    here.target.free = here.target.free._replace(slots=0)
    beads = [f"bd-{n:03}" for n in range(store.SWEEP + 20)]
    here.assign(*beads)
    here.tick()

    def saved() -> set[str]:
        return set(Store(doltlite).state(Looker(doltlite).look()).beads)

    def rows() -> int:
        return int(doltlite.query("SELECT COUNT(*) FROM watch_bead")[0][0])

    assert (saved(), rows()) == (set(beads), len(beads))
    here.sql("UPDATE issues SET status = 'closed' WHERE id <> 'bd-000'")
    here.tick(timedelta(minutes=2))
    assert (saved(), rows()) == ({"bd-000"}, len(beads))
    here.assign("bd-new")
    here.tick(timedelta(minutes=3))
    assert (saved(), rows()) == ({"bd-000", "bd-new"}, 2)


def test_the_last_word_about_no_bead_is_saved_and_what_was_saved_before_it_was_has_none(doltlite: Engine) -> None:
    here = Light(doltlite)
    here.tick()
    for kind in (Kind.PAUSE, Kind.RESUME):
        ledger(doltlite, here.settings).report(Decision(kind, GLOBAL, "", 0, ""))
    here.tick(timedelta(minutes=2))
    look = Looker(doltlite).look()
    assert Store(doltlite).state(look).version == 2
    before = {name: value for name, value in look.shared.items() if name != "version"}
    assert Store(doltlite).state(look._replace(shared=before)).version == 0
