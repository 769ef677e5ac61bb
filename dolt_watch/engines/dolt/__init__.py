"""A Dolt server, over the MySQL protocol."""
