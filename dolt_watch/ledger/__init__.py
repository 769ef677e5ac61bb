"""The event store: entries are appended under a fence, and read back."""
