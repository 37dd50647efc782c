"""Layers, blocks and optimizers that the families share."""
