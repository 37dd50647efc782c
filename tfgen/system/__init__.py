"""The machine: atomic files, memory, terminal, quiet imports. No TensorFlow here."""
