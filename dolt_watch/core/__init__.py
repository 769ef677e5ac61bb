"""The core: what a rule means, what a change means, what should be done.

Pure: nothing here does I/O.
"""
