"""Events from row changes, and state from events. Pure."""
