"""Where the watcher stands: the cursor, one poll of the database, and the saved state."""
