"""The target ``local``: agents as processes of this machine
(docs/recipes/agents-on-this-machine.md).

Nothing is imported here, because the runner loads files of this package by their path.
"""
