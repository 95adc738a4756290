"""Data sets of one file per sample."""
