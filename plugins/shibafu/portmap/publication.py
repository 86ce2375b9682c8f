"""What one attachment publishes: everything that is needed to make and to remove its rules."""

from shibafu.cni.names import calc_digest, calc_host_veth
from shibafu.lean.ip import Cidr, parse_address, parse_cidr
from shibafu.portmap.mapping import Mapping
from shibafu.resource.identity import NetnsIdentity

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from shibafu.portmap.config import PortmapConfig

LOOPBACK = "127.0.0.0/8"
# NFTNL_UDATA_COMMENT_MAXLEN in libnftnl; iptables has room for twice as much.
_MAX_COMMENT = 128
_MAX_LABEL = 40
_ANY = {4: "0.0.0.0/0", 6: "::/0"}


def calc_label(network: str) -> str:
    """Return what stands for a network in comments: its name, if that leaves room for a container's ID."""
    return network if len(network) <= _MAX_LABEL else calc_digest(network, size=16)


class Publication:
    """The ports that one interface of a container has on the host.

    Args:
        network: the network.
        container_id: the container.
        ifname: its interface.
        backend: `iptables` or `nftables`.
        mappings: the ports, joined and none of them 0.
        targets: the container's address of each family, with its subnet's prefix.
        snat, masq_all, mark_chain, conditions: see `PortmapConfig`.
        identity: the container's namespace; None when it is unknown.
    """

    __slots__ = (
        "backend",
        "conditions",
        "container_id",
        "identity",
        "ifname",
        "mappings",
        "mark_chain",
        "masq_all",
        "network",
        "snat",
        "targets",
    )

    def __init__(
        self,
        network: str,
        container_id: str,
        ifname: str,
        backend: str,
        mappings: list[Mapping],
        targets: dict[int, Cidr],
        snat: bool = True,
        masq_all: bool = False,
        mark_chain: str = "",
        conditions: dict[int, list[str]] | None = None,
        identity: NetnsIdentity | None = None,
    ) -> None:
        self.network = network
        self.container_id = container_id
        self.ifname = ifname
        self.backend = backend
        self.mappings = mappings
        self.targets = targets
        self.snat = snat
        self.masq_all = masq_all
        self.mark_chain = mark_chain
        self.conditions = conditions or {}
        self.identity = identity

    @classmethod
    def of_config(
        cls,
        config: "PortmapConfig",
        owner: tuple[str, str, str],
        backend: str,
        targets: dict[int, Cidr],
        identity: NetnsIdentity | None = None,
    ) -> "Publication":
        """Return what a configuration publishes; `owner` is network, container and interface."""
        return cls(
            *owner,
            backend,
            config.mappings,
            targets,
            config.snat,
            config.masq_all,
            config.mark_chain,
            config.conditions,
            identity,
        )

    @property
    def key(self) -> str:
        """What names the attachment, as its link on the host is called by shibafu-bridge."""
        return calc_host_veth(self.network, self.container_id, self.ifname)

    @property
    def comment(self) -> str:
        """The comment that identifies the owner of rules, for people and for a DEL without a record."""
        # Both are identifiers, in which nothing ends a comment; an interface may be called anything.
        return f"{self.key} {calc_label(self.network)} {self.container_id}"[:_MAX_COMMENT]

    @property
    def owner(self) -> str:
        """The holder of the ports, for people."""
        return f"container {self.container_id} on network {self.network}"

    def of_version(self, version: int) -> list[Mapping]:
        """Return the ports that lead to the container's address of a family."""
        return [one for one in self.mappings if version in self.targets and one.is_of(version)]

    def sources(self, version: int) -> list[str]:
        """Return the subnets whose connections to the container are masqueraded.

        Else its neighbours, and the container itself, would get answers from an address that they did not
        ask; and to 127.0.0.1 none can be sent.
        """
        if not self.of_version(version):
            return []
        if self.masq_all:
            return [_ANY[version]]
        if not self.snat:
            return []
        subnet = str(self.targets[version].network)
        return [subnet, LOOPBACK] if version == 4 else [subnet]

    def find_clashes(self, others: "Iterable[Publication]") -> "Iterator[tuple[Mapping, Publication]]":
        """Yield ports of this one that other publications have as well, and which these are."""
        # In the order of their first ports, what begins meets only what has not ended.
        runs: list[tuple[Mapping, Publication]] = [(one, self) for one in self.mappings]
        runs += [(one, other) for other in others for one in other.mappings]
        runs.sort(key=lambda run: (run[0].protocol, run[0].first))
        ours: list[Mapping] = []
        theirs: list[tuple[Mapping, Publication]] = []
        for one, owner in runs:
            if owner is self:
                theirs = [open_run for open_run in theirs if _reaches(open_run[0], one)]
                ours.append(one)
                yield from ((one, other) for run, other in theirs if self._is_clash(one, run, other))
            else:
                ours = [open_run for open_run in ours if _reaches(open_run, one)]
                theirs.append((one, owner))
                yield from ((run, owner) for run in ours if self._is_clash(run, one, owner))

    def _is_clash(self, own: Mapping, theirs: Mapping, other: "Publication") -> bool:
        return any(own.clashes(theirs, version) for version in self.targets.keys() & other.targets.keys())

    def to_json(self) -> dict[str, object]:
        """Return it for the register."""
        identity = self.identity
        return {
            "network": self.network,
            "containerID": self.container_id,
            "ifname": self.ifname,
            "backend": self.backend,
            "portMappings": [one.to_json() for one in self.mappings],
            "targets": [str(target) for target in self.targets.values()],
            "snat": self.snat,
            "masqAll": self.masq_all,
            "externalSetMarkChain": self.mark_chain,
            "conditionsV4": self.conditions.get(4, []),
            "conditionsV6": self.conditions.get(6, []),
            "netns": identity.path if identity is not None else "",
            "netnsIdentity": identity.to_json() if identity is not None else None,
        }

    @classmethod
    def from_json(cls, value: object) -> "Publication":
        """Return what `to_json` made.

        Raises:
            ValueError: it is something else.
        """
        if not isinstance(value, dict):
            raise ValueError("not an object")
        try:
            targets = [parse_cidr(text) for text in value["targets"]]
            return cls(
                str(value["network"]),
                str(value["containerID"]),
                str(value["ifname"]),
                str(value["backend"]),
                [_parse_mapping(one) for one in value["portMappings"]],
                {target.version: target for target in targets},
                value["snat"] is True,
                value["masqAll"] is True,
                str(value["externalSetMarkChain"]),
                {4: [*map(str, value["conditionsV4"])], 6: [*map(str, value["conditionsV6"])]},
                NetnsIdentity.from_json(str(value["netns"]), value["netnsIdentity"]),
            )
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(f"not a publication: {error}") from None


def _reaches(before: Mapping, after: Mapping) -> bool:
    """Return whether the ports of one that begins before another go on into that."""
    return before.last >= after.first and before.protocol == after.protocol


def _parse_mapping(value: dict[str, object]) -> Mapping:
    first, target, count = (value.get(key, 1) for key in ("hostPort", "containerPort", "range"))
    if not (isinstance(first, int) and isinstance(target, int) and isinstance(count, int)):
        raise ValueError("a port is not a number")
    host_ip = value.get("hostIP")
    return Mapping(
        str(value["protocol"]), first, target, count, parse_address(str(host_ip)) if host_ip else None
    )
