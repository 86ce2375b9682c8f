"""Ports that the reference's portmap has published: found, checked and removed for containers that run on.

With iptables it makes a chain for each container of a network, `CNI-DN-` and the start of a hash, and a rule
in CNI-HOSTPORT-DNAT that leads there (plugins/meta/portmap/portmap_iptables.go of the reference). What newer
releases make with nft is in `reference_tables`. Its other chains, which all containers share, it leaves for
good, and so does this.
"""

from shibafu.cni.names import calc_reference_hash
from shibafu.lean.ip import parse_cidr
from shibafu.netfilter.generation import list_legacy_tables
from shibafu.netfilter.listing import Listing
from shibafu.netfilter.presence import Presence
from shibafu.portmap.mapping import Mapping
from shibafu.portmap.reference_tables import ReferencePortTables
from shibafu.resource.base import Fault, Resource
from shibafu.resource.teardown import Teardown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection
    from collections.abc import Mapping as Environment

    from shibafu.lean.ip import Cidr
    from shibafu.portmap.publication import Publication
    from shibafu.resource.view import View

_CHAIN_LENGTH = 28
_PREFIX = "CNI-DN-"
_DNAT = "CNI-HOSTPORT-DNAT"
_LIST = "*nat\n-S\nCOMMIT\n"
_NATS = {4: "ip nat", 6: "ip6 nat"}


def calc_reference_dnat_chain(network: str, container_id: str) -> str:
    """Return the name of the chain of a container on a network."""
    return f"{_PREFIX}{calc_reference_hash(network + container_id)}"[:_CHAIN_LENGTH]


def _parse_rule(line: str) -> Mapping | None:
    """Return what a rule of a container's chain publishes; None for another rule."""
    words = line.split()
    if not line.startswith(f"-A {_PREFIX}") or "--to-destination" not in words or "--dport" not in words:
        return None
    options = {word: words[i] for i, word in enumerate(words[:-1], 1)}
    try:
        place = parse_cidr(options["-d"]).address if "-d" in options else None
        target = int(options["--to-destination"].rpartition(":")[2])
        return Mapping(options["-p"], int(options["--dport"]), target, host_ip=place)
    except (KeyError, ValueError):
        return None  # somebody else's


def _find_owner(lines: "list[str]", chain: str) -> str:
    """Return whose a chain is, for people."""
    jump = next((line for line in lines if line.endswith(f" -j {chain}")), "")
    network, _, rest = jump.partition('dnat name: \\"')[2].partition('\\" id: \\"')
    container_id = rest.partition('\\"')[0]
    return f"container {container_id} on network {network}" if container_id else f"chain {chain}"


class ReferenceHostPorts(Resource):
    """The rules of one container, in the place of our own.

    Args:
        publication: what is published.
        reference: finds them.
    """

    __slots__ = ("_publication", "_reference")

    def __init__(self, publication: "Publication", reference: "ReferencePorts") -> None:
        self._publication = publication
        self._reference = reference

    def faults(self, view: "View") -> list[Fault]:
        """See `Resource.faults`."""
        what = self._reference.find_fault(self._publication)
        advice = "it was removed; attach the container again"
        return [Fault(f"published ports lead nowhere: {what}", advice, is_mendable=False)] if what else []


class ReferencePorts:
    """The reference's rules of published ports.

    Args:
        env: the environment.
        has_ports: whether the configuration has ports. Only then the legacy variant of iptables is
            asked, for which a program has to be started.
    """

    __slots__ = ("_env", "_has_ports")

    def __init__(self, env: "Environment[str, str]", has_ports: bool) -> None:
        self._env = env
        self._has_ports = has_ports

    def remove(self, network: str, container_id: str) -> None:
        """Remove those of a container; that there are none is success.

        Raises:
            CniError: everything that could not be removed.
        """
        chain = calc_reference_dnat_chain(network, container_id)
        teardown = Teardown()
        with Presence() as presence:
            chains = [presence.has_chain(table, chain) for table in _NATS.values()]
        if any(chains) or self._may_be_legacy():
            teardown.do(self._remove_chains, [chain])
        teardown.do(ReferencePortTables(self._env).remove, container_id)
        teardown.finish()

    def remove_besides(
        self, network: str, container_ids: "Collection[str]", subnets: "Collection[Cidr]"
    ) -> None:
        """Remove those of a network for all but some containers.

        Args:
            network: the network.
            container_ids: the containers whose ports stay.
            subnets: the network's, as far as they are known. What was published with nft names no network.

        Raises:
            CniError: everything that could not be removed.
        """
        teardown = Teardown()
        teardown.do(self._remove_chains_besides, network, container_ids)
        teardown.do(ReferencePortTables(self._env).remove_besides, subnets, container_ids)
        teardown.finish()

    def _remove_chains_besides(self, network: str, container_ids: "Collection[str]") -> None:
        with Presence() as presence:
            is_there = any(presence.has_chain(table, _DNAT) for table in _NATS.values())
        if not (is_there or self._may_be_legacy()):
            return
        mark = f'--comment "dnat name: \\"{network}\\" id: \\"'
        chains = set()
        for lines in Listing(self._env, _LIST).lines.values():
            for line in lines:
                _, found, rest = line.partition(mark)
                container_id = rest.partition('\\"')[0]
                chain = calc_reference_dnat_chain(network, container_id)
                if found and container_id not in container_ids and line.endswith(f" -j {chain}"):
                    chains.add(chain)
        self._remove_chains(chains)

    def has_chain(self, network: str, container_id: str) -> bool:
        """Return whether a container has ports that the reference has published with iptables."""
        chain = calc_reference_dnat_chain(network, container_id)
        with Presence() as presence:
            if any(presence.has_chain(table, chain) for table in _NATS.values()):
                return True
        return self._may_be_legacy() and any(
            f"-N {chain}" in lines for lines in Listing(self._env, _LIST).lines.values()
        )

    def find_clash(self, publication: "Publication") -> "tuple[Mapping, str] | None":
        """Return a port that another container has, and which one; None if there is none."""
        own = calc_reference_dnat_chain(publication.network, publication.container_id)
        with Presence() as presence:
            chains = [name for name in presence.list_chains() if name.startswith(_PREFIX) and name != own]
        found = ReferencePortTables(self._env).find_clash(publication)
        if found is not None:
            return found[0], f"container {found[1]}"
        if not (chains or self._may_be_legacy()):
            return None
        for version, lines in Listing(self._env, _LIST).lines.items():
            mappings = publication.of_version(version)
            for line in lines if mappings else ():
                theirs = _parse_rule(line)
                if theirs is None or line.startswith(f"-A {own} "):
                    continue
                for mapping in mappings:
                    if mapping.clashes(theirs, version):
                        return theirs, _find_owner(lines, line.split()[1])
        return None

    def find_fault(self, publication: "Publication") -> str:
        """Return what is wrong with a container's rules, in words; empty if nothing is."""
        chain = calc_reference_dnat_chain(publication.network, publication.container_id)
        listed = Listing(self._env, _LIST).lines
        for version, target in publication.targets.items():
            lines = [line for line in listed.get(version, []) if line.startswith(f"-A {chain} ")]
            address = f"[{target.address}]" if version == 6 else str(target.address)
            for mapping in publication.of_version(version):
                for i in range(mapping.count):
                    match = f" -p {mapping.protocol} -m {mapping.protocol} --dport {mapping.first + i} "
                    end = f" --to-destination {address}:{mapping.target + i}"
                    if not any(match in line and line.endswith(end) for line in lines):
                        return f"chain {chain} lacks a rule for {mapping}"
            if publication.of_version(version) and not any(
                line.endswith(f" -j {chain}") for line in listed.get(version, [])
            ):
                return f"nothing leads to chain {chain}"
        return ""

    def _may_be_legacy(self) -> bool:
        """Return whether the legacy variant, which netlink does not show, may have rules."""
        try:
            return self._has_ports and any(b"nat" in list_legacy_tables(version) for version in _NATS)
        except OSError:
            return False

    def _remove_chains(self, chains: "Collection[str]") -> None:
        listing = Listing(self._env, _LIST)
        teardown = Teardown()
        for version, lines in listing.lines.items():
            removals: list[str] = []
            for chain in chains:
                jumps = [line for line in lines if line.startswith("-A ") and line.endswith(f" -j {chain}")]
                removals += [line.replace("-A ", "-D ", 1) for line in jumps]
                removals += [f"-F {chain}", f"-X {chain}"] if f"-N {chain}" in lines else []
            if removals:
                teardown.do(listing.run, version, "\n".join(["*nat", *removals, "COMMIT", ""]))
        teardown.finish()
