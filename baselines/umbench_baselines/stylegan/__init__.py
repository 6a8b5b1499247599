"""G1: vector to mask (paper, section III.B.1)."""
