"""Evaluation: metrics of samples, likelihoods of held-out images, comparison.

Estimators take arrays, functions and distributions. `sources` alone knows how a model offers them,
and how a run or a published version is opened. `metrics` declares each metric once.
"""
