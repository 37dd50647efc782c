"""The machine: atomic files, signals, memory, terminal, quiet imports. No TensorFlow here."""
