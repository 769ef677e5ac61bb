"""Numbered SQL, in MySQL's dialect; transpiled for DoltLite."""
