"""Suites: schema, loader, overrides and matrix."""
