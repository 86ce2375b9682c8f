"""`internal`: what a network's containers send does not get to the host.

A network has one table in nftables' bridge family. Its hook sees what a bridge hands to the host, and not
what stays on the bridge, whether br_netfilter is on or off; the ports are known by their group. A drop is
final: no rule of iptables or of another table lets the frame in.
"""

from shibafu.cni.names import INTERNAL_GROUP, calc_chain, calc_comment
from shibafu.netfilter.nftables import Nft, calc_teardown, is_listed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

# Before all others: NF_BR_PRI_NAT_DST_BRIDGED.
_PRIORITY = -300
_RULE = f"iifgroup {INTERNAL_GROUP} drop"


def calc_barrier_table(network: str) -> str:
    """Return the family and name of the network's table."""
    return f"bridge {calc_chain(network).lower()}-internal"


def calc_barrier(network: str) -> str:
    """Return the input that makes the table, whatever is there already."""
    table = calc_barrier_table(network)
    lines = (
        f"add table {table}",
        f"flush table {table}",
        f"add chain {table} input {{ type filter hook input priority {_PRIORITY}; }}",
        f'add rule {table} input {_RULE} comment "{calc_comment(network)}"',
    )
    return "\n".join(lines) + "\n"


class Barrier:
    """What stands between the host and one network's containers.

    Args:
        network: the network's name.
        env: the environment.

    Raises:
        CniError: nft is not installed.
    """

    __slots__ = ("_network", "_nft")

    def __init__(self, network: str, env: "Mapping[str, str]") -> None:
        self._network = network
        self._nft = Nft(env)

    def ensure(self) -> None:
        """Make it, or what is missing of it.

        Raises:
            CniError: nft refused.
        """
        self._nft.run(calc_barrier(self._network))

    def teardown(self) -> None:
        """Remove it.

        Raises:
            CniError: nft refused.
        """
        self._nft.run(calc_teardown(calc_barrier_table(self._network)))

    def is_there(self) -> bool:
        """Tell whether anything of it is there."""
        return bool(self._nft.list_table(calc_barrier_table(self._network)))

    def is_whole(self) -> bool:
        """Tell whether it does what it is for."""
        listing = self._nft.list_table(calc_barrier_table(self._network))
        # A rule in front of ours may let frames pass, and a table that is dormant sees none.
        _, hook, rules = listing.partition("hook input")
        first = rules.split("\n", 2)[1:2]
        return bool(hook) and "flags dormant" not in listing and is_listed(_RULE, "".join(first))
