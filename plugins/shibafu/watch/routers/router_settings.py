"""Which routers a host has, as its administrator states them."""

from dataclasses import dataclass

from shibafu.netlink.inet import calc_family, ip_text

# Added to the metric of a router that has died: its route stays, behind those of all others.
RAISE = 20000


@dataclass(frozen=True)
class RouterSettings:
    """A router that default routes are to lead to.

    Args:
        gateway: its address, packed.
        dev: the link that it is on.
        metric: of the route; the lower, the better.
    """

    gateway: bytes
    dev: str
    metric: int

    @property
    def family(self) -> int:
        """AF_INET or AF_INET6."""
        return calc_family(self.gateway)

    def __str__(self) -> str:
        return f"{ip_text(self.gateway)} dev {self.dev}"
