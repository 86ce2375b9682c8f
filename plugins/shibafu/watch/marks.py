"""What of a network may have changed, from the first announcement until somebody has looked."""

# Seconds without another announcement before a look: much goes in many steps, and a firewall is loaded in
# several transactions.
SETTLE = 0.02
_LONGEST_SETTLE = 0.15


class Marks:
    """What to look at of one network.

    Args:
        now: when it was first announced, in seconds of the monotonic clock.

    Attributes:
        has_links: whether to look at the links of all containers, and at the bridge.
        has_rules: whether to look at rules.
        has_inside: whether to look into all containers.
        has_files: whether to look at leases.
        links: the containers to look at otherwise, by the names of their links on the host.
        inside: those to look into otherwise, likewise.
        culprit: who has changed something last, such as `nft[812]`; empty where that is unknown.
        since: when the first change was announced.
        due: when to look.
    """

    __slots__ = (
        "culprit",
        "due",
        "has_files",
        "has_inside",
        "has_links",
        "has_rules",
        "inside",
        "links",
        "since",
    )

    def __init__(self, now: float) -> None:
        self.has_links = False
        self.has_rules = False
        self.has_inside = False
        self.has_files = False
        self.links: set[str] = set()
        self.inside: set[str] = set()
        self.culprit = ""
        self.since = now
        self.due = now + SETTLE

    def touch(self, now: float, culprit: str = "") -> None:
        """Wait a little longer, since something else has just changed."""
        self.culprit = culprit or self.culprit
        self.due = min(now + SETTLE, max(self.since + _LONGEST_SETTLE, self.due))

    def concern(self, link: str) -> bool:
        """Return whether a container's links are to be looked at."""
        return self.has_links or link in self.links

    def concern_inside(self, link: str) -> bool:
        """Return whether a container's own interface is to be looked at."""
        return self.has_inside or link in self.inside

    def merge(self, earlier: "Marks") -> None:
        """Have that looked at, too, which has been announced earlier."""
        self.has_links |= earlier.has_links
        self.has_rules |= earlier.has_rules
        self.has_inside |= earlier.has_inside
        self.has_files |= earlier.has_files
        self.links |= earlier.links
        self.inside |= earlier.inside
        self.culprit = self.culprit or earlier.culprit
        self.since = earlier.since

    def mark_everything(self) -> None:
        """Have everything looked at."""
        self.has_links = self.has_rules = self.has_inside = self.has_files = True
