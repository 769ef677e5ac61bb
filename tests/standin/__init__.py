"""A stand-in for ``bd`` in the tests, for machines without bd.

The stand-in is a command-line program. It writes the same rows and makes the same commits as real
bd, in the dialect of each recorded schema: 1.0.2, 1.2.2 and 1.3. It contains only commands with a
recording.

The tests ``test_standin_*`` replay each command of the recordings in ``tests/recordings``, and
compare the results.
"""
