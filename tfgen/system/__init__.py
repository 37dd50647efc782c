"""What tfgen asks of the machine: files, terminal, memory. No TensorFlow here."""
