"""Each attempt as a Kubernetes Job whose name is made from the attempt's token.

A name exists at most once, so a token runs at most once: the API server refuses the second Job of
the same name. A lost answer is settled by asking for the name, and by taking it if it is free.
"""
