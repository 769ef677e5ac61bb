"""Why one bead is, or is not, dispatched."""
