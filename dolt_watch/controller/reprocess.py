"""``replay --apply``: apply the history after a commit again."""

from __future__ import annotations

from dolt_watch.controller.parts import LoopParts
from dolt_watch.engines import Commit
from dolt_watch.errors import MergeInProgress
from dolt_watch.history.rebuild import rebuild_state
from dolt_watch.ledger.schema import check_database


def reprocess(parts: LoopParts, commit: Commit, by: str) -> None:
    """Set the cursor back to a commit in HEAD's history, with the state rebuilt there.

    The next tick applies everything after it again, and makes decisions that are due and missing.
    Recorded decisions come back through the change feed and are not repeated. Raises Conflict.
    """
    tracker = parts.tracker
    poll = parts.poller.poll()
    now = parts.clock.now(poll.now)
    check_database(parts.engine, parts.config.project_id)
    if poll.merging:
        raise MergeInProgress()
    # The state at that commit, with the current rules.
    feed_query = tracker.feed_query(poll)
    found = rebuild_state(
        parts.engine,
        commit.hash,
        commit.date,
        parts.policy.rules,
        feed_query.rules,
        feed_query.columns,
    )
    context = tracker.context(poll, found.state, now, feed_query)
    parts.executor.record_reprocess(context, commit, by)
    # The entry moved HEAD and the fence, so the save must be based on a new poll.
    poll = parts.poller.poll()
    parts.store.load(poll)  # With the notices that wait.
    parts.store.stage(poll, found.state, None)
    parts.tracker.save(poll, now, {}, {})
