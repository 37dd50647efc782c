"""A server on this machine: TensorFlow Serving's REST interface, and a web page."""
