"""Which program puts the rules into the kernel: the key `ipMasqBackend`."""

from shibafu.cni.errors import INVALID_CONFIG, CniError
from shibafu.cni.process import find_program
from shibafu.netfilter.rules import NetworkRules

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from shibafu.netfilter.iptables import Iptables
    from shibafu.netfilter.nftables import Nftables

    Backend = Iptables | Nftables

IPTABLES = "iptables"
NFTABLES = "nftables"


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


def open_backend(name: str, rules: NetworkRules, env: "Mapping[str, str]") -> "Backend":
    """Return the backend for a network's rules.

    Raises:
        CniError: a program that it needs is not installed.
    """
    if name == NFTABLES:
        from shibafu.netfilter.nftables import Nftables

        return Nftables(rules, env)
    from shibafu.netfilter.iptables import Iptables

    return Iptables(rules, env)
