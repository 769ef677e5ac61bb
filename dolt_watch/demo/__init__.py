"""The demo: a tracker, a service and an agent on this machine, for a few seconds."""
