"""dolt_watch: an event-sourced watcher for beads, on Dolt's own commit diffs."""

__version__ = "0.1.0"
