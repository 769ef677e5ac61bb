"""Decisions from state and observations, and outcomes from the answers of targets. Pure."""
