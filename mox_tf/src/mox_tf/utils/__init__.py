"""Modules by the names under which scripts of MoXing import them."""
