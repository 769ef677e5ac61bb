"""DoltLite: the embedded engine, one file."""
