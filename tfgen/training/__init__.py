"""A training run: its folder, checkpoints, reports and devices."""
