"""Readers of local files: each turns files into arrays of images and labels."""
