"""Published versions: writing them, opening them, and clients of a server that has them."""
