"""What-if: the loop's own functions on recorded history, with another clock, ledger and target.

Reading order: ``row_views`` (rows as the rules see them without the claims of dolt_watch) →
``recorded_timeline`` (history as acts of others, and runs) → ``recorded_history`` (the timeline
beside the recorded decisions) → ``schedule`` (the times of ticks) → ``run_allocation`` (the run of
a dispatch) → ``simulator`` (ticks over the timeline) → ``attempt_log`` (decisions, recorded and
simulated) → ``comparison`` (the differences) → ``formatter`` (words and JSON).
"""
