"""Targets: the services and programs that run beads."""
