"""Stages, one file each: where store, data, baselines and metrics meet. Their values: `values`."""
