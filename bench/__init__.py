"""Measurements of dolt_watch on real Dolt: ``python -m bench``. See bench/README.md."""
