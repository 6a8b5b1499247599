"""Engines execute a plan."""
