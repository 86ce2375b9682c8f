"""What rules of others do with a network's packets: reading them, by the programs that list them."""

from shibafu.lean.ip import Cidr
from shibafu.lean.subprocess import Child, find_program
from shibafu.netfilter.forwarding import bridged_versions
from shibafu.netfilter.verdicts import ACCEPT, Packet, is_dropped
from shibafu.netfilter.verdicts_iptables import parse_iptables
from shibafu.netfilter.verdicts_nftables import parse_nft
from shibafu.netlink.link import link_by_name, link_list
from shibafu.netlink.route import route_list
from shibafu.netlink.socket import NetlinkSocket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from shibafu.netfilter.drops import BaseChain

_LEGACY_PROGRAMS = {4: "iptables-legacy", 6: "ip6tables-legacy"}
# Seconds to wait for the legacy variant's lock.
_LOCK_WAIT = "5"


class Drop:
    """What drops a network's packets.

    Args:
        chain: its name for people: "chain forward of table inet filter".
        what: whose packets: "sent by", "sent to", "exchanged between".
        bridge: the network's link.
        example: a command that would let them through.
    """

    __slots__ = ("bridge", "chain", "example", "what")

    def __init__(self, chain: str, what: str, bridge: str, example: str) -> None:
        self.chain = chain
        self.what = what
        self.bridge = bridge
        self.example = example

    def describe(self, network: str) -> str:
        """Return a sentence that says so, without its full stop."""
        return f"{self.chain} drops what is {self.what} the containers of network {network}"

    @property
    def advice(self) -> str:
        """What to do about it."""
        return (
            "no rule in another table can override that: accept it in that chain, "
            f"for example with `{self.example}`"
        )


def calc_packets(bridge: str, subnets: list[Cidr], is_masqueraded: bool) -> "Iterator[tuple[str, Packet]]":
    """Yield the packets that have to get through, and their owner."""
    with NetlinkSocket() as sock:
        link = link_by_name(sock, bridge)
        defaults = {route.index for route in route_list(sock) if route.dst is None}
        # A rule that lets packets out by another network's bridge lets none out of the host.
        others = frozenset(
            other.name
            for other in link_list(sock)
            if other.name not in (bridge, "lo")
            and (other.index in defaults or (other.kind != "bridge" and not other.master))
        )
    versions = sorted({subnet.version for subnet in subnets})
    bridged = bridged_versions(bridge) if link is not None and link.kind == "bridge" else []
    for version in versions:
        if is_masqueraded and others:
            yield "sent by", Packet(version, bridge, bridge, None, others, "new", subnets)
            yield "sent to", Packet(version, bridge, None, bridge, others, "established", subnets)
        if version in bridged:
            yield "exchanged between", Packet(version, bridge, bridge, bridge, others, "new", subnets)


def find_nft_drop(
    bases: "list[BaseChain]", packets: list[tuple[str, Packet]], env: "Mapping[str, str]"
) -> Drop | None:
    """Return the first of these chains that drops any of these packets."""
    program = find_program("nft", env.get("PATH", ""))
    if not bases or not packets or program is None:
        return None
    # Not all there is, which may be much. Without counters, and without what is in sets.
    wanted = "".join({f"list table {base.family} {base.table}\n": None for base in bases})
    tables = parse_nft(_run(program, ["nft", "--stateless", "--terse", "-f", "-"], env, wanted))
    for base in bases:
        chains = tables.get((base.family, base.table), {})
        for what, packet in packets:
            if base.sees(packet.version) and is_dropped(chains, base.name, base.policy, packet):
                where = f"{base.family} {base.table} {base.name}"
                link = "iifname" if packet.enters else "oifname"
                example = f"nft insert rule {where} {link} {packet.bridge} accept"
                chain = f"chain {base.name} of table {base.family} {base.table}"
                return Drop(chain, what, packet.bridge, example)
    return None


def find_legacy_drop(
    versions: list[int], packets: list[tuple[str, Packet]], env: "Mapping[str, str]"
) -> Drop | None:
    """Return FORWARD of the legacy variant if it drops any of these packets, of one of these families."""
    for version in versions if packets else []:
        name = _LEGACY_PROGRAMS[version]
        program = find_program(name, env.get("PATH", ""))
        if program is None:
            continue
        policies, chains = parse_iptables(_run(program, [name, "--wait", _LOCK_WAIT, "-S"], env))
        for what, packet in packets:
            policy = policies.get("FORWARD", ACCEPT)
            if packet.version == version and is_dropped(chains, "FORWARD", policy, packet):
                link = "-i" if packet.enters else "-o"
                example = f"{name} -I FORWARD {link} {packet.bridge} -j ACCEPT"
                return Drop(f"chain FORWARD of {name}", what, packet.bridge, example)
    return None


def _run(program: str, argv: list[str], env: "Mapping[str, str]", text: str = "") -> str:
    """Return what a program prints; nothing if it fails."""
    try:
        status, stdout, _ = Child(program, argv, env, text.encode(), keep_stderr=True).wait()
    except OSError:
        return ""
    return "" if status else stdout.decode("utf-8", "replace")
