"""G2: guided annotated image (paper, section III.B.2)."""
