"""Real HTTP servers that answer as the real services do, and as broken ones might.

The real services were asked (docs/reference/target-answers.md).
"""
