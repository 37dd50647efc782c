"""Memory of this machine."""

from tfgen.system import machine

GIGABYTE = 10**9


def machine_memory() -> int:
    """Bytes of memory that this process may use."""
    return machine.memory_bytes()
