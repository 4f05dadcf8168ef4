"""Slow rings of tests: faults, floods and cycles, counted. Run them with scripts/chaos,
scripts/fuzz and scripts/soak; scripts/figures runs all of them and writes docs/promises.md.
"""
