"""Annotated sets, montages, the phantom, importers."""
