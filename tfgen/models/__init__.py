"""The model families, a file each, on one base."""
