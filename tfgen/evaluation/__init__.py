"""Judging models by numbers, each beside the one that real images get."""
