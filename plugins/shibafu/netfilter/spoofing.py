"""`macspoofchk`: frames of a container pass only with the hardware address that it was given.

A network has one table in nftables' bridge family, with one rule and two sets, whatever the number of
its containers: `ports` are those that are guarded, `allowed` their addresses.
"""

from shibafu.cni.names import calc_chain, calc_comment
from shibafu.netfilter.nftables import Nft, calc_teardown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


# Before all others, as the reference has it: NF_BR_PRI_NAT_DST_BRIDGED.
_PRIORITY = -300
_RULE = "iifname @ports iifname . ether saddr != @allowed drop"


def calc_guard_table(network: str) -> str:
    """Return the family and name of the network's table."""
    return f"bridge {calc_chain(network).lower()}"


def calc_guard(network: str, ports: list[tuple[str, str]]) -> str:
    """Return the input that guards ports, each with its address, whatever is there already."""
    table = calc_guard_table(network)
    lines = (
        f"add table {table}",
        f"add set {table} ports {{ type ifname; }}",
        f"add set {table} allowed {{ type ifname . ether_addr; }}",
        f"add chain {table} prerouting {{ type filter hook prerouting priority {_PRIORITY}; }}",
    )
    return "\n".join(lines) + "\n" + calc_addition(network, ports)


def calc_addition(network: str, ports: list[tuple[str, str]]) -> str:
    """Return the input that guards further ports, and fails where the network's guard is gone."""
    table = calc_guard_table(network)
    pairs, names = _calc_elements(ports)
    lines = (
        f"flush chain {table} prerouting",
        f'add rule {table} prerouting {_RULE} comment "{calc_comment(network)}"',
        # Allowed before guarded: at no moment are a container's own frames dropped.
        f"add element {table} allowed {{ {pairs} }}",
        f"add element {table} ports {{ {names} }}",
    )
    return "\n".join(lines) + "\n"


def calc_unguard(network: str, ports: list[tuple[str, str]]) -> str:
    """Return the input that gives up guarding ports of a network that has others."""
    table = calc_guard_table(network)
    pairs, names = _calc_elements(ports)
    return (
        f"{calc_guard(network, ports)}delete element {table} ports {{ {names} }}\n"
        f"delete element {table} allowed {{ {pairs} }}\n"
    )


def _calc_elements(ports: list[tuple[str, str]]) -> tuple[str, str]:
    """Return the elements of both sets, those of `allowed` first."""
    pairs = ", ".join(f'"{port}" . {mac}' for port, mac in ports)
    names = ", ".join(f'"{port}"' for port, _ in ports)
    return pairs, names


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

    def add(self, port: str, mac: str) -> bool:
        """Guard a port beside others; return whether the network's guard was there to be added to."""
        return self._nft.start(calc_addition(self._network, [(port, mac)])).wait()[0] == 0

    def guard(self, ports: list[tuple[str, str]]) -> None:
        """Guard ports, each with its address, making what is missing.

        Raises:
            CniError: nft refused.
        """
        self._nft.run(calc_guard(self._network, ports))

    def unguard(self, ports: list[tuple[str, str]]) -> None:
        """Give up guarding ports, each with its address, of a network that has others.

        Raises:
            CniError: nft refused.
        """
        self._nft.run(calc_unguard(self._network, ports))

    def teardown(self) -> None:
        """Remove the network's table.

        Raises:
            CniError: nft refused.
        """
        self._nft.run(calc_teardown(calc_guard_table(self._network)))

    def is_there(self) -> bool:
        """Tell whether the network has a table."""
        return bool(self.list())

    def list(self) -> str:
        """Return the network's table as nft(8) prints it; empty without one."""
        return self._nft.list_table(calc_guard_table(self._network))

    def is_guarded(self, port: str, mac: str, listing: str) -> bool:
        """Tell whether a port is guarded, by what `list` returned."""
        return _RULE in listing and f'"{port}" . {mac}' in listing
