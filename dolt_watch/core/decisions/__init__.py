"""State and observations become decisions; the answer of a target becomes an outcome. Pure."""
