"""Generators, guidance and the utility segmenter: tensors in, tensors out."""
