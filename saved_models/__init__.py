"""The exported samplers: <name>/<version>/, version 1 of each shipped."""
