"""Handlers: what a decision does to the world outside. They know engines and targets only by their contracts."""
