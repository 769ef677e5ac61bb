"""Knowledge of beads, the tracker that `bd` keeps in a Dolt database."""
