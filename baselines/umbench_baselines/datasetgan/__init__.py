"""Annotation by pixel classifiers on a StyleGAN's features, after datasetGAN (Zhang et al. 2021).

A handful of generated images is annotated; an ensemble of small networks learns each pixel's
class from the activations that drew it, and then annotates whatever the StyleGAN draws.
"""
