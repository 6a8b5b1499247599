"""Paired tests, corrections, resampling."""
