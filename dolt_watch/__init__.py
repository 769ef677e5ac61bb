"""dolt_watch: an event-sourced dispatcher for beads, based on Dolt's commit diffs."""

__version__ = "0.1.0"
