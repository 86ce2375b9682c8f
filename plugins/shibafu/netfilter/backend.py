"""Which program puts a network's rules into the kernel: the key `ipMasqBackend`."""

import os

from shibafu.cni.errors import INVALID_CONFIG, CniError
from shibafu.cni.names import IPTABLES, NFTABLES
from shibafu.cni.process import find_program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from shibafu.netfilter.iptables import Iptables
    from shibafu.netfilter.network_rulesets import NetworkRules
    from shibafu.netfilter.nftables import Nftables

    Backend = Iptables | Nftables

# There if the kernel has the family at all.
_SWITCHES = {4: "/proc/sys/net/ipv4", 6: "/proc/sys/net/ipv6"}


def choose_backend(wanted: str, env: "Mapping[str, str]") -> str:
    """Return the backend that is configured; by default iptables, unless only nft is installed.

    Raises:
        CniError: there is no backend of that name.
    """
    if wanted in (IPTABLES, NFTABLES):
        return wanted
    if wanted:
        raise CniError(
            INVALID_CONFIG,
            f'unknown ipmasq backend "{wanted}"',
            f'"ipMasqBackend" must be {IPTABLES} or {NFTABLES}',
        )
    path = env.get("PATH", "")
    if find_program("iptables-restore", path) is None and find_program("nft", path) is not None:
        return NFTABLES
    return IPTABLES


def open_backend(name: str, rules: "NetworkRules", env: "Mapping[str, str]") -> "Backend":
    """Return the backend with the rulesets of a network.

    Raises:
        CniError: a program that it needs is not installed.
    """
    if name == NFTABLES:
        from shibafu.netfilter.network_tables import calc_nftables
        from shibafu.netfilter.nftables import Nftables

        return Nftables(calc_nftables(rules), env)
    from shibafu.netfilter.iptables import Iptables
    from shibafu.netfilter.network_rulesets import calc_iptables

    versions = [v for v in rules.versions() if rules.of_version(v) or os.path.lexists(_SWITCHES[v])]
    return Iptables({version: calc_iptables(rules, version) for version in versions}, rules.network, env)
