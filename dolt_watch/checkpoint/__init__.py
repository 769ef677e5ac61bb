"""The progress of a worker: the cursor, the poll of the database, and the saved state."""
