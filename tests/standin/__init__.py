"""A stand-in for ``bd`` in the tests, for machines without it.

It is one command-line program. It writes the rows and makes the commits that real bd writes and
makes, in the dialect of each recorded schema: 1.0.2, 1.2.2 and 1.3. The recordings of real bd
(``tests/recordings``) are what it is proven by: ``test_standin_*`` replays each recorded
command. It offers no command that no recording holds.
"""
