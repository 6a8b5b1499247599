"""Superpixels and unsupervised masks (paper, section III.A)."""
