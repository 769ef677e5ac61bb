"""How the watcher is watched: logs, metrics, health, a dead man's switch.

Nothing here decides anything.
"""
