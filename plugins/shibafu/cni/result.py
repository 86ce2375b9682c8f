"""What ADD answers: interfaces, addresses, routes and DNS, in the shape of each CNI version."""

from shibafu.cni.config import Section, fold_keys, parse_dns
from shibafu.cni.errors import DECODING_FAILURE, INVALID_CONFIG, CniError
from shibafu.cni.version import DEFAULT, RESULT_GROUPS, SUPPORTED, result_group
from shibafu.lean.ip import Address, Cidr, parse_address, parse_cidr

_OLDEST, _MIDDLE, _NEWEST = RESULT_GROUPS
# RT_TABLE_MAIN, RT_SCOPE_LINK (linux/rtnetlink.h)
_MAIN_TABLE, _LINK_SCOPE = 254, 253


class Interface:
    """A link that the plugins made; `sandbox` is CNI_NETNS for the container's, empty for the host's."""

    __slots__ = ("mac", "mtu", "name", "pci_id", "sandbox", "socket_path")

    def __init__(
        self,
        name: str,
        mac: str = "",
        sandbox: str = "",
        mtu: int = 0,
        socket_path: str = "",
        pci_id: str = "",
    ) -> None:
        self.name = name
        self.mac = mac
        self.sandbox = sandbox
        self.mtu = mtu
        self.socket_path = socket_path
        self.pci_id = pci_id

    def to_json(self, version: str) -> dict[str, object]:
        """Return the object of `version`, empty fields left out."""
        fields: dict[str, object] = {"mac": self.mac}
        if version in _NEWEST:
            fields |= {"mtu": self.mtu, "pciID": self.pci_id}
        fields |= {"sandbox": self.sandbox}
        if version in _NEWEST:
            fields |= {"socketPath": self.socket_path}
        return {"name": self.name} | {key: value for key, value in fields.items() if value}


class IPConfig:
    """An address; `interface` is its link's place in the result's list, None in an IPAM plugin's result."""

    __slots__ = ("address", "gateway", "interface")

    def __init__(self, address: Cidr, gateway: Address | None = None, interface: int | None = None) -> None:
        self.address = address
        self.gateway = gateway
        self.interface = interface

    def to_json(self, version: str) -> dict[str, object]:
        """Return the object of `version`."""
        fields: dict[str, object] = {"address": str(self.address)}
        if version in _MIDDLE:
            fields = {"version": str(self.address.version)} | fields
        if self.gateway is not None:
            fields["gateway"] = str(self.gateway)
        if self.interface is not None:
            fields["interface"] = self.interface
        return fields


class Route:
    """A route; None and 0 leave a property to the kernel."""

    __slots__ = ("advmss", "dst", "gw", "mtu", "priority", "scope", "table")

    def __init__(
        self,
        dst: Cidr,
        gw: Address | None = None,
        mtu: int = 0,
        advmss: int = 0,
        priority: int = 0,
        table: int | None = None,
        scope: int | None = None,
    ) -> None:
        self.dst = dst
        self.gw = gw
        self.mtu = mtu
        self.advmss = advmss
        self.priority = priority
        self.table = table
        self.scope = scope

    @property
    def is_of_main_table(self) -> bool:
        """Whether it is in the table that the kernel goes by unless a rule names another."""
        return self.table in (None, 0, _MAIN_TABLE)

    @property
    def is_default(self) -> bool:
        """Whether it is for what no other route of the main table is for."""
        return self.dst.prefix == 0 and self.is_of_main_table

    @property
    def leads_to_neighbours(self) -> bool:
        """Whether its scope is the link, or the host."""
        return self.scope is not None and self.scope >= _LINK_SCOPE

    def to_json(self, version: str) -> dict[str, object]:
        """Return the object of `version`; only the newest knows more than destination and gateway."""
        fields: dict[str, object] = {"dst": str(self.dst)}
        if self.gw is not None:
            fields["gw"] = str(self.gw)
        if version in _NEWEST:
            numbers = {"mtu": self.mtu, "advmss": self.advmss, "priority": self.priority}
            fields |= {key: value for key, value in numbers.items() if value}
            if self.table is not None:
                fields["table"] = self.table
            if self.scope is not None:
                fields["scope"] = self.scope
        return fields


class Result:
    """What ADD answers, in no particular version; `to_json` gives it one.

    `port_mappings` are of this suite: ports of the host that were chosen, which others pass over.
    """

    __slots__ = ("dns", "interfaces", "ips", "port_mappings", "routes")

    def __init__(
        self,
        interfaces: list[Interface] | None = None,
        ips: list[IPConfig] | None = None,
        routes: list[Route] | None = None,
        dns: dict[str, object] | None = None,
        port_mappings: list[object] | None = None,
    ) -> None:
        self.port_mappings = port_mappings or []
        self.interfaces = interfaces or []
        self.ips = ips or []
        self.routes = routes or []
        self.dns = dns or {}

    def to_json(self, version: str) -> dict[str, object]:
        """Return the result in the shape of `version`.

        Raises:
            CniError: the oldest versions cannot express a result without addresses.
        """
        if version in _OLDEST:
            from shibafu.cni.result_oldest import render_oldest

            return render_oldest(self, version)
        fields: dict[str, object] = {"cniVersion": version}
        if self.dns or version in _MIDDLE:
            fields["dns"] = self.dns
        lists = (
            ("interfaces", [i.to_json(version) for i in self.interfaces]),
            ("ips", [ip.to_json(version) for ip in self.ips]),
            ("routes", [r.to_json(version) for r in self.routes]),
            ("portMappings", self.port_mappings),
        )
        return fields | {key: items for key, items in lists if items}


def parse_route(section: Section) -> Route:
    """Parse a route of a result or of an IPAM configuration.

    Raises:
        CniError: INVALID_CONFIG when the destination or the gateway is not an address.
    """
    try:
        route = Route(parse_cidr(section.text("dst")))
        for attribute, value in section.read(_ROUTE_KEYS):
            setattr(route, attribute, value)
        return route
    except ValueError as error:
        raise CniError(
            INVALID_CONFIG,
            str(error),
            'a route needs "dst", such as 10.0.0.0/8; "gw", such as 10.1.0.1, is optional',
        ) from None


def parse_routes(section: Section) -> list[Route]:
    """Parse the routes of a result or of an IPAM configuration; null is none.

    Raises:
        CniError: INVALID_CONFIG when one is not a route.
    """
    return [parse_route(section.item("routes", r)) for r in section.array("routes") if r is not None]


def parse_result(section: Section, default_version: str = DEFAULT, name: str = "result") -> Result:
    """Parse a result of the version that it states itself, or else of the default version.

    Args:
        section: the result.
        default_version: of the specification.
        name: what it is called in errors.

    Raises:
        CniError: DECODING_FAILURE when it is not a result of that version.
    """
    version = section.text("cniVersion") or default_version
    if version not in SUPPORTED:
        raise CniError(DECODING_FAILURE, f'unsupported CNI result version "{version}"')
    try:
        if version in _OLDEST:
            from shibafu.cni.result_oldest import parse_oldest

            return parse_oldest(section)
        return Result(
            [_parse_interface(i) for i in section.sections("interfaces")],
            [_parse_ip(ip) for ip in section.sections("ips")],
            parse_routes(section),
            parse_dns(section.section("dns")),
            section.array("portMappings"),
        )
    except ValueError as error:
        raise CniError(DECODING_FAILURE, f"could not parse {name}: {error}") from None


def _parse_interface(section: Section) -> Interface:
    interface = Interface("")
    for attribute, value in section.read(_INTERFACE_KEYS):
        setattr(interface, attribute, value)
    return interface


def _parse_ip(section: Section) -> IPConfig:
    return IPConfig(
        parse_cidr(section.text("address")), _read_address(section, "gateway"), section.number("interface")
    )


def _read_address(section: Section, key: str) -> Address | None:
    text = section.text(key)
    return parse_address(text) if text else None


def _read_number(section: Section, key: str) -> int:
    return section.unsigned(key) or 0


def parse_prev_result(config: Section, version: str) -> Result | None:
    """Return the result of the plugins before this one; None when the configuration has none.

    Raises:
        CniError: INVALID_CONFIG when it is not of the configuration's group of versions.
    """
    if "prevResult" not in config:
        return None
    section = config.section("prevResult")
    stated = section.text("cniVersion") or version
    group = result_group(version)
    if stated not in group:
        raise CniError(
            INVALID_CONFIG,
            f"could not parse prevResult: result type supports [{' '.join(group)}] but unmarshalled "
            f'CNIVersion is "{stated}"',
            "the runtime must convert prevResult to the configuration's version",
        )
    return parse_result(section, version, "prevResult")


def require_prev_result(config: Section, version: str, refusal: str) -> Result:
    """Return the result of the plugins before this one, which cannot do without it.

    Args:
        config: the configuration.
        version: its version.
        refusal: what to say where it has none; the reference's plugins differ in it.

    Raises:
        CniError: INVALID_CONFIG when there is none, or as `parse_prev_result`.
    """
    result = parse_prev_result(config, version)
    if result is None:
        raise CniError(INVALID_CONFIG, refusal, 'put it in "plugins" after one that attaches containers')
    return result


def find_prev_result(config: Section, version: str) -> Result | None:
    """Return the result of the plugins before this one, for DEL: a broken one must not keep a container."""
    try:
        return parse_prev_result(config, version)
    except CniError:
        return None


_INTERFACE_KEYS = fold_keys(
    ("name", "name", Section.text),
    ("mac", "mac", Section.text),
    ("sandbox", "sandbox", Section.text),
    ("mtu", "mtu", _read_number),
    ("socket_path", "socketPath", Section.text),
    ("pci_id", "pciID", Section.text),
)
# Beside the destination, which each has.
_ROUTE_KEYS = fold_keys(
    ("gw", "gw", _read_address),
    ("mtu", "mtu", _read_number),
    ("advmss", "advmss", _read_number),
    ("priority", "priority", _read_number),
    ("table", "table", Section.unsigned),
    ("scope", "scope", lambda section, key: section.unsigned(key, bits=8)),
)
