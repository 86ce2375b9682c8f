"""What limits the ports of a network's bridge, as rulesets in nftables' bridge family.

`macspoofchk`: frames of a container pass only with the hardware address that it was given. One rule and two
sets do, whatever the number of containers: `ports` are those that are watched, `allowed` their addresses.

`internal`: what a network's containers send does not get to the host. The hook sees what a bridge hands to
the host, and not what stays on the bridge, whether br_netfilter is on or off; the ports are known by their
group. A drop is final: no rule of iptables or of another table lets the frame in.
"""

from shibafu.cni.names import INTERNAL_GROUP, calc_chain, calc_comment
from shibafu.netfilter.ruleset import Chain, ElementSet, Ruleset

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

# Before all others, as the reference has it: NF_BR_PRI_NAT_DST_BRIDGED.
_HOOK = "type filter hook {} priority -300"


def calc_spoofcheck(network: str, ports: "Sequence[tuple[str, str]]") -> Ruleset:
    """Return what lets ports send from their own hardware address only.

    Args:
        network: the network's name.
        ports: those that matter, each with its address; the network may have others.
    """
    table = f"bridge {calc_chain(network).lower()}"
    rules = ["iifname @ports iifname . ether saddr != @allowed drop"]
    chain = Chain(table, "prerouting", _HOOK.format("prerouting"), rules)
    sets = [
        ElementSet("allowed", "ifname . ether_addr", [f'"{port}" . {mac}' for port, mac in ports]),
        ElementSet("ports", "ifname", [f'"{port}"' for port, _ in ports]),
    ]
    return Ruleset(table, [chain], sets, calc_comment(network))


def calc_internal(network: str) -> Ruleset:
    """Return what stands between the host and the containers of an internal network."""
    table = f"bridge {calc_chain(network).lower()}-internal"
    chain = Chain(table, "input", _HOOK.format("input"), [f"iifgroup {INTERNAL_GROUP} drop"])
    return Ruleset(table, [chain], comment=calc_comment(network))
