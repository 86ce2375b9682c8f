"""Connections that were ended because policies deny them: rules that keep them from going on.

Their entries in the kernel's table of connections are deleted, after which their next packet counts as the
first one of a new connection, in whichever direction it goes: one from the server would begin a connection
that policies may allow, and all of the old one would pass as replies to it. So packets of both directions are
refused, for as long as an end may go on trying.

The same two ends may want a new connection, which policies then allow. Its first packet is left to them;
if it gets past them, the old one is forgotten.
"""

from shibafu.netfilter.nftables import Nft

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

TABLE = "inet shibafu_cut"
# Before the chain of the policies (-10), which accepts what is established, and after it.
_HOOK = "type filter hook forward priority -11"
_ALLOWED_HOOK = "type filter hook forward priority -9"
_OPENS = "tcp flags & (fin|syn|rst|ack) == syn"
# How long a packet of an ended connection is refused. TCP resets both ends once they send; what says
# nothing at all for longer is gone. UDP has no ends, and the kernel forgets an idle exchange after 120 s.
_LASTING = {"tcp": "1d", "udp": "3m"}
_VERDICTS = {"tcp": "reject with tcp reset", "udp": "drop"}
_FAMILIES = {4: ("ip", "ipv4_addr"), 6: ("ip6", "ipv6_addr")}


class Conversation:
    """A connection as forwarded packets have it.

    Args:
        version: the family, 4 or 6.
        protocol: its name, tcp or udp.
        source: address and port of who opened it, before any translation.
        destination: address and port of who answers, after any translation.
    """

    __slots__ = ("destination", "protocol", "source", "version")

    def __init__(
        self, version: int, protocol: str, source: tuple[str, int], destination: tuple[str, int]
    ) -> None:
        self.version = version
        self.protocol = protocol
        self.source = source
        self.destination = destination

    @property
    def set_name(self) -> str:
        """The set that it is kept in."""
        return f"{self.protocol}{self.version}"

    def list_elements(self) -> list[str]:
        """Return its elements, one for each direction."""
        ends = (self.source, self.destination)
        return [
            f"{a[0]} . {a[1]} . {b[0]} . {b[1]} timeout {_LASTING[self.protocol]}"
            for a, b in (ends, ends[::-1])
        ]


def can_be_kept_ended(protocol: str) -> bool:
    """Return whether the table has rules for a protocol, by its name."""
    return protocol in _VERDICTS


def refuse_packets(conversations: "Iterable[Conversation]", env: "Mapping[str, str]") -> None:
    """Have the kernel refuse what is sent on connections, besides those for which it does so already.

    Raises:
        CniError: nft is not installed, or refuses.
    """
    Nft(env).run(_render_cut(conversations))


def _render_cut(conversations: "Iterable[Conversation]") -> str:
    lines = [f"add table {TABLE}"]
    for chain, hook in (("forward", _HOOK), ("allowed", _ALLOWED_HOOK)):
        lines += [f"add chain {TABLE} {chain} {{ {hook}; }}", f"flush chain {TABLE} {chain}"]
    lines.append(f"add rule {TABLE} forward {_OPENS} return")
    for protocol, verdict in _VERDICTS.items():
        for version, (family, kind) in _FAMILIES.items():
            name = f"{protocol}{version}"
            key = f"{kind} . inet_service . {kind} . inet_service"
            lines.append(f"add set {TABLE} {name} {{ type {key}; flags dynamic, timeout; }}")
            ends = f"{family} saddr . {protocol} sport", f"{family} daddr . {protocol} dport"
            lines.append(f"add rule {TABLE} forward {' . '.join(ends)} @{name} {verdict}")
            if protocol == "tcp":
                lines += [
                    f"add rule {TABLE} allowed {_OPENS} delete @{name} {{ {' . '.join(one)} }}"
                    for one in (ends, ends[::-1])
                ]
    for one in conversations:
        lines += [f"add element {TABLE} {one.set_name} {{ {element} }}" for element in one.list_elements()]
    return "".join(f"{line}\n" for line in lines)


def render_uncut() -> str:
    """Return the transaction that removes the table, whether it is there or not."""
    return f"add table {TABLE}\ndelete table {TABLE}\n"
