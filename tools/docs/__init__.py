"""The references, made from the code, and the site.

``python -m tools.docs`` writes; ``python -m tools.docs.site`` builds.
"""
