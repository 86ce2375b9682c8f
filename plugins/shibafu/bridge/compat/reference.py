"""The reference plugins' masquerading rules: found, checked and removed for containers that they attached.

With iptables they make a chain for each container, `CNI-` and the start of a hash, and a jump to it from
POSTROUTING for each of its addresses (pkg/utils/utils.go, pkg/ip/ipmasq_iptables_linux.go of the reference).
What they make with nft is in `reference_nft`.
"""

import sys

from shibafu.netfilter.listing import Listing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from shibafu.cni.ip import Address

_CHAIN_LENGTH = 28


def calc_reference_hash(text: str) -> str:
    """Return the digits that the reference's names begin with."""
    try:
        if sys.version_info >= (3, 12):
            from _sha2 import sha512
        else:
            from _sha512 import sha512  # type: ignore[import-not-found]  # typeshed does not know it
    except ImportError:  # an interpreter that keeps it elsewhere
        from hashlib import sha512

    digest: str = sha512(text.encode()).hexdigest()
    return digest


def calc_reference_chain(network: str, container_id: str) -> str:
    """Return the name of the chain of one container on one network."""
    return f"CNI-{calc_reference_hash(network + container_id)}"[:_CHAIN_LENGTH]


def list_reference_containers(listing: Listing, network: str) -> dict[str, set[str]]:
    """Return each container of a network that has a chain, and its addresses."""
    containers: dict[str, set[str]] = {}
    mark = f'--comment "name: \\"{network}\\" id: \\"'
    for lines in listing.lines.values():
        for line in lines:
            head, found, tail = line.partition(mark)
            container_id = tail.partition('\\"')[0]
            if found and line.endswith(f" -j {calc_reference_chain(network, container_id)}"):
                addresses = containers.setdefault(container_id, set())
                addresses.add(head.partition(" -s ")[2].split("/")[0])
    return containers


def teardown_reference_masquerade(listing: Listing, network: str, container_id: str) -> None:
    """Remove the container's chain and the jumps to it, in both families, where they are.

    Raises:
        CniError: iptables refused.
    """
    chain = calc_reference_chain(network, container_id)
    for version in listing.lines:
        jumps = listing.jumps(version, chain)
        if jumps:
            removal = [f"-D {jump[3:]}" for jump in jumps] + [f"-F {chain}", f"-X {chain}"]
            listing.run(version, "\n".join(["*nat", *removal, "COMMIT", ""]))


def has_reference_masquerade(
    network: str, container_id: str, addresses: "list[Address]", env: "Mapping[str, str]"
) -> bool:
    """Tell whether all of a container's addresses are masqueraded by its chain."""
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
