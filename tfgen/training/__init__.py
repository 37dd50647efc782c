"""A training run: its folder, checkpoints, callbacks, devices and interrupts."""
