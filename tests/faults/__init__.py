"""Tests with deliberate faults: crashes, races, rewritten history, bad answers.

The faults are bounded, stay on loopback, and end by themselves.
"""
