"""The report: history and the present as one page that a person opens, offline or live.

``history`` folds commits into lanes, ``now`` asks how things stand, ``data`` puts both together
as plain data, ``page`` writes HTML. Only ``gather`` and ``live`` do I/O.
"""
