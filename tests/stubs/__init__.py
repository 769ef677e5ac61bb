"""Real HTTP servers that answer as the real services do (asked of them; see docs/targets.md),
and as broken ones might.
"""
