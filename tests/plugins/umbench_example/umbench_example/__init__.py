"""One small metric, extractor, generator and superpixel algorithm for umbench."""
