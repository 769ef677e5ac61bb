"""Real HTTP servers that behave like the real services, or like broken services.

docs/reference/target-answers.md contains the observed answers of the real services.
"""
