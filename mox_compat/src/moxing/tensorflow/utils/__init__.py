"""Flags and versions."""
