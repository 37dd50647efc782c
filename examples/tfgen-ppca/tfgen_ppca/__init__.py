"""Probabilistic PCA as a model family of tfgen."""
