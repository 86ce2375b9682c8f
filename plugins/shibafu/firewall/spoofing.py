"""`macspoofchk`: frames of a container pass only with the hardware address that it was given.

A network has one table in nftables' bridge family, with one rule and two sets, whatever the number of
its containers: `ports` are those that are guarded, `allowed` their addresses.
"""

from shibafu.cni.errors import CniError
from shibafu.cni.names import calc_chain
from shibafu.firewall.nftables import Nft, calc_teardown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


# Before all others, as the reference has it: NF_BR_PRI_NAT_DST_BRIDGED.
_PRIORITY = -300
_RULE = "iifname @ports iifname . ether saddr != @allowed drop"


def calc_guard_table(network: str) -> str:
    """Return the family and name of the network's table."""
    return f"bridge {calc_chain(network).lower()}"


def calc_guard(network: str, port: str, mac: str) -> str:
    """Return the input that guards a port, whatever is there already."""
    table = calc_guard_table(network)
    lines = (
        f"add table {table}",
        f"add set {table} ports {{ type ifname; }}",
        f"add set {table} allowed {{ type ifname . ether_addr; }}",
        f"add chain {table} prerouting {{ type filter hook prerouting priority {_PRIORITY}; }}",
        f"flush chain {table} prerouting",
        f'add rule {table} prerouting {_RULE} comment "shibafu network {network}"',
        f'add element {table} allowed {{ "{port}" . {mac} }}',
        f'add element {table} ports {{ "{port}" }}',
    )
    return "\n".join(lines) + "\n"


def calc_unguard(network: str, port: str, mac: str) -> str:
    """Return the input that gives up guarding a port of a network that has others."""
    table = calc_guard_table(network)
    guard = calc_guard(network, port, mac)
    return (
        f'{guard}delete element {table} ports {{ "{port}" }}\n'
        f'delete element {table} allowed {{ "{port}" . {mac} }}\n'
    )


class SpoofGuard:
    """The guarded ports of one network.

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

    def guard(self, port: str, mac: str) -> None:
        """Guard a port.

        Raises:
            CniError: nft refused.
        """
        self._nft.run(calc_guard(self._network, port, mac))

    def unguard(self, port: str, mac: str) -> None:
        """Give up guarding a port of a network that has others.

        Raises:
            CniError: nft refused.
        """
        self._nft.run(calc_unguard(self._network, port, mac))

    def teardown(self) -> None:
        """Remove the network's table.

        Raises:
            CniError: nft refused.
        """
        self._nft.run(calc_teardown(calc_guard_table(self._network)))

    def is_guarded(self, port: str, mac: str) -> bool:
        """Tell whether a port is guarded."""
        try:
            listing = self._nft.run(f"list table {calc_guard_table(self._network)}\n")
        except CniError:
            return False
        return _RULE in listing and f'"{port}" . {mac}' in listing
