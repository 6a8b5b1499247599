"""Pixel classifiers on G1's features (Zhang et al. 2021)."""
