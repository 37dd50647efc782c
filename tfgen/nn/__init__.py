"""Layers, blocks and optimizers that the families share, and CPU speed-ups."""
