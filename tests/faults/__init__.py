"""Deliberate faults: crashes, races, rewritten history, bad answers.

Bounded, on loopback, and ending automatically.
"""
