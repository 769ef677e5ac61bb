"""The report: history and the current state on one HTML page, as a file or live.

``lanes`` builds the lane of each bead from commits. ``view_model`` combines lanes, status, and
ledger entries into plain data. ``html`` renders that data. Only ``collector`` and ``live_page``
read the database.
"""
