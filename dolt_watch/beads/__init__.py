"""What dolt_watch knows about beads, the tracker that `bd` keeps in a Dolt database."""
