"""Evaluation: metrics of samples, likelihoods of held-out images, comparison.

Estimators take arrays, functions and distributions. `densities` alone knows how a model offers
them, and `subject` how a run or a published version is opened.
"""
