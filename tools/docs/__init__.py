"""The reference pages, generated from the code, and the site.

``python -m tools.docs`` writes the pages, and ``python -m tools.docs.site`` builds the site.
"""
