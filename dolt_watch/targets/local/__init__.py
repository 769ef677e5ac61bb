"""The target ``local``: agents as processes of this machine (docs/local.md).

Nothing is imported here: the runner loads files of this package by their path.
"""
