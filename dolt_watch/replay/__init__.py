"""Recomputes history: replay, verification, what-if."""
