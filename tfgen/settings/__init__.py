"""Options with their help, ranges and defaults. No TensorFlow here."""
