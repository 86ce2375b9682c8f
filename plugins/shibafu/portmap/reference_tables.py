"""Ports that newer releases of the reference's portmap have published with nft.

They add rules to the tables `cni_hostport` (portmap_nftables.go), which all networks share. Their comments
are the container's ID alone: of which network a rule is, only the address says that it leads to.
"""

from shibafu.lean.ip import Cidr, parse_address
from shibafu.lean.subprocess import find_program
from shibafu.netfilter.nftables import Nft
from shibafu.netfilter.presence import Presence
from shibafu.portmap.mapping import Mapping
from shibafu.resource.teardown import Teardown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from collections.abc import Mapping as Environment

    from shibafu.lean.ip import Address
    from shibafu.portmap.publication import Publication

_TABLES = {4: "ip cni_hostport", 6: "ip6 cni_hostport"}


class _Rule:
    """A rule as nft lists it.

    Args:
        line: its line, without its handle.

    Attributes:
        container_id: whose it is; empty for one that all share.
        leads_to: the container's address; None for one that all share.
        mapping: what it publishes; None for one that masquerades.
    """

    __slots__ = ("container_id", "leads_to", "mapping")

    def __init__(self, line: str) -> None:
        text, _, comment = line.partition(' comment "')
        words = text.split()
        self.container_id = comment.removesuffix('"')
        self.leads_to: Address | None = None
        self.mapping: Mapping | None = None
        try:
            if words[-1:] == ["masquerade"]:
                self.leads_to = parse_address(words[words.index("daddr") + 1])
                return
            port, target = words.index("dport") + 1, words.index("dnat") + 2
            place = parse_address(words[words.index("daddr") + 1]) if "daddr" in words[:port] else None
            address, _, number = words[target].rpartition(":")
            self.mapping = Mapping(words[port - 2], int(words[port]), int(number), host_ip=place)
            self.leads_to = parse_address(address.strip("[]"))
        except (IndexError, ValueError):
            pass  # somebody else's


class ReferencePortTables:
    """The reference's tables of nftables.

    Args:
        env: the environment.
    """

    __slots__ = ("_env",)

    def __init__(self, env: "Environment[str, str]") -> None:
        self._env = env

    def remove(self, container_id: str) -> None:
        """Remove the rules of a container; that there are none is success.

        Raises:
            CniError: everything that could not be removed.
        """
        self._remove(lambda rule: rule.container_id == container_id)

    def remove_besides(self, subnets: "Collection[Cidr]", container_ids: "Collection[str]") -> None:
        """Remove rules that lead into some subnets, of all but some containers.

        Raises:
            CniError: everything that could not be removed.
        """

        def is_leaving(rule: _Rule) -> bool:
            if not rule.container_id or rule.container_id in container_ids or rule.leads_to is None:
                return False
            return any(subnet.contains(rule.leads_to) for subnet in subnets)

        if subnets:
            self._remove(is_leaving)

    def find_clash(self, publication: "Publication") -> "tuple[Mapping, str] | None":
        """Return a port that another container has, and its ID; None if there is none."""
        for version, table in self._find_tables().items():
            for line in map(str.strip, Nft(self._env).list_table(table).splitlines()):
                rule = _Rule(line)
                if rule.mapping is None or rule.container_id == publication.container_id:
                    continue
                if any(one.clashes(rule.mapping, version) for one in publication.of_version(version)):
                    return rule.mapping, rule.container_id
        return None

    def _find_tables(self) -> dict[int, str]:
        """Return the tables that there are, by version of IP; none without nft."""
        with Presence() as presence:
            tables = {version: table for version, table in _TABLES.items() if presence.has_table(table)}
        return tables if find_program("nft", self._env.get("PATH", "")) else {}

    def _remove(self, is_leaving: "Callable[[_Rule], bool]") -> None:
        teardown = Teardown()
        for table in self._find_tables().values():
            teardown.do(self._remove_rules, table, is_leaving)
        teardown.finish()

    def _remove_rules(self, table: str, is_leaving: "Callable[[_Rule], bool]") -> None:
        nft = Nft(self._env)
        chain, lines = "", []
        for line in map(str.strip, nft.list_table(table, handles=True).splitlines()):
            text, _, handle = line.rpartition(" # handle ")
            if text.startswith("chain "):
                chain = text.removeprefix("chain ").removesuffix(" {").strip('"')
            elif is_leaving(_Rule(text)):
                lines.append(f"delete rule {table} {chain} handle {handle}")
        if lines:
            nft.run("\n".join(lines) + "\n")
