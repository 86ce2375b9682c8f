"""What the reference plugins make with nft, found, checked and removed for containers that they attached.

`macspoofchk`: in the table `bridge nat` two chains for each container and a jump to them from PREROUTING
(pkg/link/spoofcheck.go of the reference). `ipMasqBackend` nftables, in newer releases: a rule for each
address in the table `inet cni_plugins_masquerade` (pkg/ip/ipmasq_nftables_linux.go). All are removed by the
numbers that nft lists them with: names and comments may hold what nft would misread.
"""

from shibafu.cni.names import calc_reference_hash
from shibafu.lean.subprocess import find_program
from shibafu.netfilter.nftables import Nft

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

_SPOOF_TABLE = "bridge nat"
_MASQUERADE_TABLE = "inet cni_plugins_masquerade"
_MASQUERADE_CHAIN = "masq_checks"
_HASH_LENGTH = 16


def parse_handles(listing: str) -> list[tuple[str, str, str]]:
    """Return (chain, text, handle) of each rule that nft lists; a chain itself has no text."""
    found = []
    chain = ""
    for line in listing.splitlines():
        text, mark, handle = line.strip().rpartition(" # handle ")
        if not mark or text.startswith("table "):
            continue
        if text.startswith("chain "):
            chain = text.removeprefix("chain ").removesuffix(" {").strip('"')
            found.append((chain, "", handle))
        else:
            found.append((chain, text, handle))
    return found


def calc_spoof_removal(listing: str, owners: "Iterable[tuple[str, str]]") -> str:
    """Return the input that removes the MAC spoof checks of containers; empty when there are none.

    Args:
        listing: the table, as nft lists it.
        owners: (container ID, interface) of each.
    """
    names = [f"{container_id}-{ifname}" for container_id, ifname in owners]
    comments = {f"macspoofchk-{name}" for name in names}
    leaving = {f"cni-br-iface-{name}{end}" for name in names for end in ("", "-mac")}
    rules, chains = [], {}
    for chain, text, handle in parse_handles(listing):
        _, has_comment, comment = text.removesuffix('"').rpartition(' comment "')
        if has_comment and comment in comments and chain == "PREROUTING":
            rules.append(f"delete rule {_SPOOF_TABLE} {chain} handle {handle}")
        elif not text and chain in leaving:
            chains[chain] = f"delete chain {_SPOOF_TABLE} handle {handle}"
    # Of an interface's two chains, the one that jumps to the other first.
    return "".join(f"{line}\n" for line in rules + [chains[chain] for chain in sorted(chains)])


def calc_masquerade_removal(listing: str, network: str, is_leaving: "Callable[[str], bool]") -> str:
    """Return the input that removes masquerading rules of a network.

    Args:
        listing: the table, as nft lists it.
        network: the network.
        is_leaving: whether the rules of an instance go, see `calc_instance`.
    """
    begin = f' comment "{calc_reference_hash(network)[:_HASH_LENGTH]}-'
    lines = []
    for chain, text, handle in parse_handles(listing):
        _, mark, instance = text.partition(begin)
        if mark and chain == _MASQUERADE_CHAIN and is_leaving(instance[:_HASH_LENGTH]):
            lines.append(f"delete rule {_MASQUERADE_TABLE} {chain} handle {handle}\n")
    return "".join(lines)


def calc_instance(container_id: str, ifname: str) -> str:
    """Return what stands for a container's interface in the comments of the masquerading rules."""
    return calc_reference_hash(f"{ifname}:{container_id}")[:_HASH_LENGTH]


class ReferenceTables:
    """The reference's tables in the kernel; where nft is not installed, there are none.

    Args:
        env: the environment.
    """

    __slots__ = ("_nft",)

    def __init__(self, env: "Mapping[str, str]") -> None:
        self._nft = Nft(env) if find_program("nft", env.get("PATH", "")) is not None else None

    def teardown_spoof_checks(self, owners: "Collection[tuple[str, str]]") -> None:
        """Remove the MAC spoof checks of `owners`, (container ID, interface) each.

        Raises:
            CniError: nft refused.
        """
        if owners:
            self._run(calc_spoof_removal(self._list(_SPOOF_TABLE), owners))

    def teardown_masquerade(self, network: str, container_id: str, ifname: str) -> None:
        """Remove the masquerading rules of one container's interface.

        Raises:
            CniError: nft refused.
        """
        leaving = calc_instance(container_id, ifname)
        self._teardown_masquerade(network, lambda instance: instance == leaving)

    def teardown_masquerade_besides(self, network: str, wanted: "Iterable[tuple[str, str]]") -> None:
        """Remove the masquerading rules of a network for all but these, (container ID, interface) each.

        Raises:
            CniError: nft refused.
        """
        staying = {calc_instance(*owner) for owner in wanted}
        self._teardown_masquerade(network, lambda instance: instance not in staying)

    def has_masquerade(self, network: str, container_id: str, ifname: str, addresses: "list[str]") -> bool:
        """Return whether all of an interface's addresses are masqueraded."""
        listing = self._list(_MASQUERADE_TABLE)
        owner = f"{calc_reference_hash(network)[:_HASH_LENGTH]}-{calc_instance(container_id, ifname)}"
        own = [text for _, text, _ in parse_handles(listing) if f' comment "{owner}' in text]
        return all(any(f" saddr {address} " in text for text in own) for address in addresses)

    def is_spoof_checked(self, container_id: str, ifname: str, port: str) -> bool:
        """Return whether a container's port has the MAC spoof check."""
        comment = f'comment "macspoofchk-{container_id}-{ifname}"'
        rules = [text for chain, text, _ in parse_handles(self._list(_SPOOF_TABLE)) if chain == "PREROUTING"]
        return any(f'"{port}"' in text and text.endswith(comment) for text in rules)

    def _teardown_masquerade(self, network: str, is_leaving: "Callable[[str], bool]") -> None:
        self._run(calc_masquerade_removal(self._list(_MASQUERADE_TABLE), network, is_leaving))

    def _list(self, table: str) -> str:
        if self._nft is None:
            return ""
        return self._nft.list_table(table, handles=True)

    def _run(self, text: str) -> None:
        if text and self._nft is not None:
            self._nft.run(text)
