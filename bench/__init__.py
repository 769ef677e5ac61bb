"""The figures of dolt_watch, measured on real Dolt: ``python -m bench``. See bench/README.md."""
