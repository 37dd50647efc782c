"""How a run is put together, survives, and ends."""
