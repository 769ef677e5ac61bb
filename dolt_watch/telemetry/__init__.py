"""The observability of a worker: logs, metrics, health endpoints, and the heartbeat ping.

Nothing here decides anything.
"""
