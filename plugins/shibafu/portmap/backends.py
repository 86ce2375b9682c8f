"""Which program makes the rules of published ports."""

from shibafu.cni.names import NFTABLES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from shibafu.portmap.iptables_ports import IptablesPorts
    from shibafu.portmap.nftables_ports import NftablesPorts


def open_ports(backend: str, env: "Mapping[str, str]") -> "IptablesPorts | NftablesPorts":
    """Return a backend.

    Raises:
        CniError: its program is not installed.
    """
    if backend == NFTABLES:
        from shibafu.portmap.nftables_ports import NftablesPorts

        return NftablesPorts(env)
    from shibafu.portmap.iptables_ports import IptablesPorts

    return IptablesPorts(env)
