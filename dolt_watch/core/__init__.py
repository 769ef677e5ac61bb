"""The core: rules, events, state and decisions.

Pure: no I/O, no clock, no database, no HTTP.
"""
