"""The classifier, whose features judge samples."""
