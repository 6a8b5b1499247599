"""The phantom: a procedural chest CT in HU, drawn by this project, deterministic by seed."""

from umbench.data.phantom.phantom_set import (
    describe_phantom_set,
    draw_subject,
    make_phantom_set,
)
from umbench.data.phantom.subjects import Subject, make_subject

__all__ = [
    "Subject",
    "describe_phantom_set",
    "draw_subject",
    "make_phantom_set",
    "make_subject",
]
