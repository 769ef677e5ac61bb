"""Commits and the row changes between them, and the state rebuilt at any commit."""
