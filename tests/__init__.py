"""A package, so that scripts find these tests and not those that other packages install."""
