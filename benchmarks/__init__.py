"""A package, so that `python -m benchmarks.NAME` finds these scripts and not those of others."""
