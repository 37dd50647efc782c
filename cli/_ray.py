"""The flags of commands that can work on a Ray cluster. No Ray here, so that `--help` answers."""

from dataclasses import dataclass

from tfgen.errors import UsageError
from tfgen.settings.fields import Config, option


@dataclass(frozen=True)
class RayOptions(Config):
    """The flags for the cluster of a command, and for the number of its workers."""

    ray: int | None = option(
        None,
        "divide the work among N workers of a Ray cluster; without N, one for each GPU, or for "
        "each 4 CPU cores if there is no GPU; needs the extra [ray]",
        minimum=0,
        bare=0,
    )
    ray_address: str | None = option(
        None,
        "address of a running Ray cluster, host:6379 or ray://host:10001 (default: start one on "
        "this machine)",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.ray_address is not None and self.ray is None:
            raise UsageError("--ray-address is for --ray; pass --ray too")
