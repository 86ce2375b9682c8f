"""The reference plugins' masquerading rules: found, checked and removed for containers that they attached.

With iptables they make a chain for each container, `CNI-` and the start of a hash, and a jump to it from
POSTROUTING for each of its addresses (pkg/utils/utils.go, pkg/ip/ipmasq_iptables_linux.go of the reference).
What they make with nft is in `reference_nft`.
"""

from shibafu.cni.errors import CniError
from shibafu.cni.names import calc_reference_hash
from shibafu.netfilter.listing import Listing
from shibafu.resource.teardown import Teardown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from shibafu.lean.ip import Address

_CHAIN_LENGTH = 28
# Has the jumps listed.
HOOK = "*nat\n-S POSTROUTING\nCOMMIT\n"


def calc_reference_chain(network: str, container_id: str) -> str:
    """Return the name of the chain of one container on one network."""
    return f"CNI-{calc_reference_hash(network + container_id)}"[:_CHAIN_LENGTH]


def list_reference_containers(listed: "Mapping[int, list[str]]", network: str) -> dict[str, set[str]]:
    """Return each container of a network that has a chain, and its addresses.

    Args:
        listed: the jumps to chains, by family.
        network: the network.
    """
    containers: dict[str, set[str]] = {}
    mark = f'--comment "name: \\"{network}\\" id: \\"'
    for lines in listed.values():
        for line in lines:
            head, found, tail = line.partition(mark)
            container_id = tail.partition('\\"')[0]
            if found and line.endswith(f" -j {calc_reference_chain(network, container_id)}"):
                addresses = containers.setdefault(container_id, set())
                addresses.add(head.partition(" -s ")[2].split("/")[0])
    return containers


def teardown_reference_masquerade(listing: Listing, network: str, container_ids: "Iterable[str]") -> None:
    """Remove containers' chains and the jumps to them, in both families, where they are.

    Raises:
        CniError: iptables refused.
    """
    chains = {calc_reference_chain(network, container_id) for container_id in container_ids}
    teardown = Teardown()
    for version, lines in listing.lines.items():
        removals: dict[str, list[str]] = {}
        for line in lines:
            _, is_jump, chain = line.rpartition(" -j ")
            if is_jump and line.startswith("-A ") and chain in chains:
                removals.setdefault(chain, []).append(f"-D {line[3:]}")
        for chain, removal in removals.items():
            removal += [f"-F {chain}", f"-X {chain}"]
        teardown.do(_run_all, listing, version, list(removals.values()))
    teardown.finish()


def _run_all(listing: Listing, version: int, removals: list[list[str]]) -> None:
    """Remove chains in one transaction or, where iptables refuses that, each in its own."""
    texts = ["\n".join(["*nat", *removal, "COMMIT", ""]) for removal in removals]
    if len(texts) > 1:
        lines = [line for removal in removals for line in removal]
        try:
            listing.run(version, "\n".join(["*nat", *lines, "COMMIT", ""]))
            return
        except CniError:
            pass  # one of them cannot be removed: the rest can
    teardown = Teardown()
    for text in texts:
        teardown.do(listing.run, version, text)
    teardown.finish()


def has_reference_masquerade(
    network: str, container_id: str, addresses: "list[Address]", env: "Mapping[str, str]"
) -> bool:
    """Return whether all of a container's addresses are masqueraded by its chain."""
    chain = calc_reference_chain(network, container_id)
    listing = Listing(env, f"*nat\n-S POSTROUTING\n-S {chain}\nCOMMIT\n")
    for address in addresses:
        lines = listing.lines.get(address.version, [])
        sources = (f"-A POSTROUTING -s {address}/{128 if address.version == 6 else 32} ",)
        if not any(line.startswith(sources) for line in listing.jumps(address.version, chain)):
            return False
        if not any(line.startswith(f"-A {chain} ") and line.endswith(" -j MASQUERADE") for line in lines):
            return False
    return True
