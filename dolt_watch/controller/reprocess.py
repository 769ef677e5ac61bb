"""``replay --apply``: history after a commit is applied again."""

from __future__ import annotations

from dolt_watch.controller.parts import LoopParts
from dolt_watch.engines import Commit
from dolt_watch.errors import MergeInProgress
from dolt_watch.history.rebuild import rebuild_state
from dolt_watch.ledger.schema import check_database


def reprocess(parts: LoopParts, commit: Commit, by: str) -> None:
    """Set the cursor back to a commit of HEAD's history, with the state rebuilt there.

    The next tick applies everything after it again, and acts on what is due and undecided. What
    was decided comes back through the feed, and is not done again. Raises Conflict.
    """
    tracker = parts.tracker
    poll = parts.poller.poll()
    now = parts.clock.now(poll.now)
    check_database(parts.engine, parts.config.project_id)
    if poll.merging:
        raise MergeInProgress()
    # The state at that commit, by the rules of today.
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
    # The entry moved HEAD and the fence: what is saved is saved on top of that.
    poll = parts.poller.poll()
    parts.store.stage(poll, found.state, None)
    parts.save(poll, now, {}, {})
