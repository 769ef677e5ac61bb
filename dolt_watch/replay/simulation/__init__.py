"""What would have been decided: the loop's own functions over recorded history, with clock,
ledger and target exchanged.

Reading order: ``views`` (how a row looks to the rules when our own cells are other ones) →
``script`` (history as what others did, and the runs that belong to our dispatches) →
``schedule`` (when ticks are) → ``runs`` (which run a dispatch gets) → ``simulation`` (ticks over
the script) → ``journal`` (what was decided, recorded and simulated alike) → ``comparing`` (the
difference) → ``telling`` (text and JSON).
"""
