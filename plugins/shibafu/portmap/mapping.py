"""Ports of the host that lead to ports of a container: read, joined into runs, and compared."""

from shibafu.cni.errors import INVALID_CONFIG, CniError
from shibafu.lean.ip import Address, parse_address

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from shibafu.cni.config import Section

PROTOCOLS = ("tcp", "udp", "sctp")
_MAX_PORT = 65535


class Mapping:
    """A run of consecutive ports of the host, and as many of a container.

    Args:
        protocol: one of `PROTOCOLS`.
        first: the first port of the host; 0 until a free one was chosen.
        target: the container's port that it leads to.
        count: how many ports there are.
        host_ip: the address of the host that it is published at; None for all. An unspecified one stands for
            all of its family.
    """

    __slots__ = ("count", "first", "host_ip", "protocol", "target")

    def __init__(
        self, protocol: str, first: int, target: int, count: int = 1, host_ip: Address | None = None
    ) -> None:
        self.protocol = protocol
        self.first = first
        self.target = target
        self.count = count
        self.host_ip = host_ip

    @property
    def last(self) -> int:
        """The last port of the host."""
        return self.first + self.count - 1

    @property
    def is_straight(self) -> bool:
        """Whether the container's ports have the numbers of the host's."""
        return self.first == self.target

    def is_of(self, version: int) -> bool:
        """Return whether it is published at addresses of a family; `version` is 4 or 6."""
        return self.host_ip is None or self.host_ip.version == version

    def address(self) -> str:
        """Return the only address that it is published at; empty if it is at more than one."""
        return str(self.host_ip) if self.host_ip is not None and self.host_ip.value else ""

    def clashes(self, other: "Mapping", version: int) -> bool:
        """Return whether packets of one family could be for either."""
        if self.protocol != other.protocol or not (self.is_of(version) and other.is_of(version)):
            return False
        if self.first > other.last or other.first > self.last:
            return False
        own, others = self.address(), other.address()
        return not own or not others or own == others

    def to_json(self) -> dict[str, object]:
        """Return it as a configuration has it (`runtimeConfig.portMappings`)."""
        fields: dict[str, object] = {"hostPort": self.first, "containerPort": self.target}
        fields["protocol"] = self.protocol
        if self.count > 1:
            fields["range"] = self.count
        if self.host_ip is not None:
            fields["hostIP"] = str(self.host_ip)
        return fields

    def __str__(self) -> str:
        ports = str(self.first) if self.count == 1 else f"{self.first}-{self.last}"
        where = self.address()
        return f"port {ports}/{self.protocol}" + (f" of {where}" if where else "")


def parse_mappings(sections: "Iterable[Section]") -> list[Mapping]:
    """Return what a configuration publishes, joined into runs.

    Raises:
        CniError: INVALID_CONFIG and what is wrong.
    """
    mappings = [_parse_mapping(section) for section in sections]
    chosen = [one for one in mappings if one.first == 0]
    joined = join_mappings(one for one in mappings if one.first)
    for i, one in enumerate(joined, 1):
        for other in joined[i:]:
            if other.protocol != one.protocol or other.first > one.last:
                break  # they are in order
            if one.clashes(other, 4) or one.clashes(other, 6):
                raise _refuse(f"{other} is published twice", 'remove one of "portMappings"')
    return joined + chosen


def join_mappings(mappings: "Iterable[Mapping]") -> list[Mapping]:
    """Return mappings in order, without doubles; those that go on where another ends are one."""
    joined: list[Mapping] = []
    last: dict[tuple[str, str], Mapping] = {}
    for one in sorted(mappings, key=lambda m: (m.protocol, m.first, m.target)):
        key = one.protocol, str(one.host_ip)
        before = last.get(key)
        if before is not None and before.target - before.first == one.target - one.first:
            if one.first == before.last + 1:
                before.count += one.count
                continue
            if one.last <= before.last:
                continue
        copy = Mapping(one.protocol, one.first, one.target, one.count, one.host_ip)
        last[key] = copy
        joined.append(copy)
    return joined


def _parse_mapping(section: "Section") -> Mapping:
    target, first = section.number("containerPort") or 0, section.number("hostPort") or 0
    count = section.number("range") or 1
    if not 0 < target <= _MAX_PORT:
        raise _refuse(f"Invalid container port number: {target}", "a port is a number from 1 to 65535")
    if not 0 <= first <= _MAX_PORT:
        advice = "a port is a number from 1 to 65535, or 0 for any free port"
        raise _refuse(f"Invalid host port number: {first}", advice)
    if not 0 < count <= _MAX_PORT + 1 - max(first, target):
        raise _refuse(f"Invalid range of {count} ports from {first}", "the last port is at most 65535")
    if count > 1 and not first:
        raise _refuse("a range needs its first host port", 'set "hostPort", or omit "range"')
    protocol = section.text("protocol").lower() or PROTOCOLS[0]
    if protocol not in PROTOCOLS:
        raise _refuse(f'unknown protocol "{protocol}"', f'"protocol" must be one of {", ".join(PROTOCOLS)}')
    text = section.text("hostIP")
    try:
        host_ip = parse_address(text.removeprefix("[").removesuffix("]")) if text else None
    except ValueError as error:
        raise _refuse(str(error), 'set "hostIP" to an address of the host, or omit it') from None
    return Mapping(protocol, first, target, count, host_ip)


def _refuse(what: str, advice: str) -> CniError:
    return CniError(INVALID_CONFIG, f"failed to parse config: {what}", advice)
