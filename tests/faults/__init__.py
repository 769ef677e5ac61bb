"""What goes wrong, on purpose: crashes, races, rewritten history, bad answers.

Bounded, on loopback, ending by itself.
"""
