"""Images in; features, scores and their uncertainty out."""
