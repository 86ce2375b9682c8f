"""The keys of shibafu-bridge's network configuration."""

from shibafu.cni.args import parse_args
from shibafu.cni.config import Section, fold_keys, parse_dns
from shibafu.cni.errors import INVALID_CONFIG, CniError
from shibafu.cni.names import ISOLATED, OPEN, STRICT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shibafu.bridge.shared_gateway import SharedGateway
    from shibafu.bridge.uplink_keys import UplinkKeys
    from shibafu.cni.request import Request
    from shibafu.lean.ip import Cidr

DEFAULT_BRIDGE = "cni0"
_IFNAMSIZ = 16  # linux/if.h, with the terminating zero
# Directories, and those of sysctls for all links and new ones.
_TAKEN_NAMES = (".", "..", "all", "default")
# ETH_MIN_MTU, ETH_MAX_MTU (linux/if_ether.h)
_MIN_MTU, _MAX_MTU = 68, 65535
_MAX_METRIC = 2**32 - 1  # of RTA_PRIORITY, rtnetlink(7)
MAX_VLAN = 4094
# What of a network `shibafu watch` restores, unless its configuration says otherwise: its bridge with
# addresses and ports, rules, switches of the kernel, what containers have inside.
WATCHED = {"bridge": True, "rules": True, "sysctl": True, "container": False}
# What DEL and GC read.
_NEEDED: dict[str, type | tuple[type, ...]] = {
    "bridge": str,
    "internal": bool,
    "ipMasq": bool,
    "ipMasqBackend": str,
    "isolate": (bool, str),
    "macspoofchk": bool,
    "runtimeConfig": dict,
}


class BridgeConfig:
    """A validated configuration; the attributes are the keys of docs/configuration.md.

    Args:
        request: the call.

    Raises:
        CniError: INVALID_CONFIG for a value of a wrong type, a value or a combination that cannot be. DEL
            and GC pass over these, as over all keys that removing does not depend on.
    """

    accept_ra = False
    bridge = DEFAULT_BRIDGE
    disable_container_interface = False
    dns: "dict[str, object]" = {}  # noqa: RUF012 - nobody changes it
    enable_dad = False
    force_address = False
    gateway_ha = ""
    gateway_host_ips: "list[Cidr]" = []  # noqa: RUF012 - likewise
    hairpin_mode = False
    internal = False
    ip_masq = False
    ip_masq_backend = ""
    ip_spoof_check = True
    ipam_type = ""
    is_default_gateway = False
    is_gateway = False
    isolate = OPEN
    keep_ipv6 = False
    mac: bytes | None = None
    mac_spoof_check = False
    metric = 0
    mtu = 0
    non_masqueraded: "list[Cidr]" = []  # noqa: RUF012 - likewise
    port_isolation = False
    preserve_default_vlan = False
    promisc_mode = False
    # What `gatewayHA` and the keys that go with it come to; None without it.
    shared_gateway: "SharedGateway | None" = None
    # A later plugin of the chain makes them work; what they are is its matter.
    publishes_ports = False
    # The digest of the policies that it states; see `policy.stated_policies`.
    stated_policies = ""
    uplinks: "UplinkKeys | None" = None
    vlan = 0
    vlan_trunk: "list[int]" = []  # noqa: RUF012 - likewise
    vrrp_id: int | None = None
    vrrp_priority: int | None = None
    vrrp_track: "list[str]" = []  # noqa: RUF012 - likewise
    watch: "frozenset[str]" = frozenset(name for name, is_watched in WATCHED.items() if is_watched)

    def __init__(self, request: "Request") -> None:
        # What ADD refuses may have been right when the container came; if DEL refused it too, runtimes
        # would try it for ever.
        is_removal = request.command in ("DEL", "GC")
        config = _keep_needed(request.config) if is_removal else request.config
        self.network = request.network
        for attribute, value in config.read(KEYS):
            setattr(self, attribute, value)
        if self.is_default_gateway:
            self.is_gateway = True
        if not is_removal:
            self.mac = _parse_mac(_find_mac(request))
            self._validate()
            if self.gateway_ha:
                from shibafu.bridge.shared_gateway import SharedGateway

                self.shared_gateway = SharedGateway(self, request.config.section("ipam"))

    @property
    def has_ipam(self) -> bool:
        """Whether addresses are wanted; without them the network is a plain layer 2."""
        return bool(self.ipam_type)

    @property
    def gateway_link(self) -> str:
        """The link that the containers' traffic enters and leaves the host by."""
        return calc_gateway_link(self.bridge, self.vlan) if self.vlan else self.bridge

    @property
    def needs_rules(self) -> bool:
        """Whether the firewall has rules for the network, once a container has an address."""
        return self.ip_masq or bool(self.isolate) or self.publishes_ports

    @property
    def has_vlans(self) -> bool:
        """Whether the bridge has to filter VLANs."""
        return bool(self.vlan or self.vlan_trunk)

    def _validate(self) -> None:
        if self.hairpin_mode and self.promisc_mode:
            raise CniError(
                INVALID_CONFIG,
                "cannot set hairpin mode and promiscuous mode at the same time.",
                'remove "hairpinMode" or "promiscMode"',
            )
        if self.disable_container_interface and self.has_ipam:
            raise CniError(
                INVALID_CONFIG,
                "cannot use IPAM when DisableContainerInterface flag is set",
                'remove "ipam" or "disableContainerInterface"',
            )
        if self.internal and (self.is_gateway or self.ip_masq):
            raise CniError(
                INVALID_CONFIG,
                "an internal network cannot have a gateway or masquerading",
                'remove "internal", or "isGateway", "isDefaultGateway" and "ipMasq"',
            )
        if self.isolate and not self.has_ipam:
            raise CniError(
                INVALID_CONFIG,
                "cannot isolate a network without IPAM",
                'remove "isolate", or add "ipam": its addresses determine which families need rules',
            )
        if not is_valid_link_name(self.bridge):
            raise CniError(
                INVALID_CONFIG,
                f'invalid bridge name "{self.bridge}"',
                f"a link's name has 1 to {_IFNAMSIZ - 1} letters, digits and any of _ . - +, does not begin "
                "with - or end with +, and is not all or default",
            )
        if self.mtu and not _MIN_MTU <= self.mtu <= _MAX_MTU:
            raise CniError(
                INVALID_CONFIG, f"invalid mtu {self.mtu}", f'"mtu" must be 0 or {_MIN_MTU} to {_MAX_MTU}'
            )
        numbers = (self.vrrp_id, self.vrrp_priority)
        if not self.gateway_ha and (self.gateway_host_ips or self.vrrp_track or numbers != (None, None)):
            raise CniError(
                INVALID_CONFIG,
                "gatewayHostIP, vrrpID, vrrpPriority and vrrpTrack need gatewayHA",
                'set "gatewayHA" to "vrrp", or remove them',
            )


def _keep_needed(config: Section) -> Section:
    """Return what removing needs of a configuration; a value of a wrong type is none."""
    values = {key: value for key, kind in _NEEDED.items() if isinstance(value := config.get(key), kind)}
    if isinstance(values.get("isolate"), str) and values["isolate"] != STRICT:
        del values["isolate"]
    ipam = config.get("ipam")
    plugin_type = Section(ipam, config.name).get("type") if isinstance(ipam, dict) else None
    values["ipam"] = {"type": plugin_type if isinstance(plugin_type, str) else ""}
    return Section(values, config.name)


def is_valid_link_name(name: str) -> bool:
    """Return whether the kernel takes the name (dev_valid_name in net/core/dev.c) and a rule can contain it.

    The kernel allows more: quotes and the like. A rule's text must not be steered by such a name.
    """
    plain = name.translate(str.maketrans("_.-+", "aaaa"))
    is_plain = plain.isascii() and plain.isalnum()
    if not is_plain or len(name) >= _IFNAMSIZ or name in _TAKEN_NAMES:
        return False
    # iptables reads a trailing + as "every link that begins with".
    return name[0] != "-" and name[-1] != "+"


def _read_isolate(config: Section, key: str) -> str:
    """Return how far a network is kept from others: OPEN, ISOLATED or STRICT."""
    value = config.get(key)
    if value == STRICT:
        return STRICT
    if isinstance(value, str):
        refusal = config.wrong_type(key, value, "bool")
        raise CniError(refusal.code, refusal.msg, f'change "{key}" to true, false or "{STRICT}"')
    return ISOLATED if config.flag(key) else OPEN


def _find_mac(request: "Request") -> str:
    """Return the requested hardware address: runtimeConfig.mac, args.cni.mac, CNI_ARGS MAC, in this order."""
    config = request.config
    from_args = parse_args(request.args, ("MAC",)).get("MAC", "")
    from_runtime = config.section("runtimeConfig").text("mac")
    return from_runtime or config.section("args").section("cni").text("mac") or from_args


def _parse_mac(text: str) -> bytes | None:
    if not text:
        return None
    from shibafu.lean.ip import parse_mac

    try:
        return parse_mac(text)
    except ValueError as error:
        raise CniError(
            INVALID_CONFIG,
            f"failed to make veth pair: {error}",
            "a hardware address is six pairs of hexadecimal digits, such as 02:42:0a:00:00:05, and that of "
            "a link is unicast: the lowest bit of its first byte is 0",
        ) from None


def _read_ranges(config: Section, key: str) -> "list[Cidr]":
    """Return ranges of addresses.

    Raises:
        CniError: one is none.
    """
    from shibafu.lean.ip import parse_cidr

    try:
        return [parse_cidr(text).network for text in config.texts(key)]
    except ValueError as error:
        raise CniError(
            INVALID_CONFIG, f"{key}: {error}", f'"{key}" has ranges such as 10.42.0.0/16 or fd42::/48'
        ) from None


def _read_host_ips(config: Section, key: str) -> "list[Cidr]":
    """Return addresses with the lengths of their prefixes.

    Raises:
        CniError: one is none.
    """
    from shibafu.lean.ip import parse_cidr

    try:
        return [parse_cidr(text) for text in config.texts(key)]
    except ValueError as error:
        raise CniError(
            INVALID_CONFIG, f"{key}: {error}", f'"{key}" has addresses such as 10.7.0.2/24 or fd07::2/64'
        ) from None


def _read_metric(config: Section, key: str) -> int:
    """Return the metric of default routes; 0 when none is stated.

    Raises:
        CniError: the number is out of range.
    """
    metric = config.number(key) or 0
    if not 0 <= metric <= _MAX_METRIC:
        raise CniError(
            INVALID_CONFIG, f"invalid metric {metric}", f'"metric" must be 1 to {_MAX_METRIC}; 0 for none'
        )
    return metric


def _read_vlan(config: Section, key: str) -> int:
    """Return the VLAN of the port; 0 when it is in none.

    Raises:
        CniError: the number is out of range.
    """
    vlan = config.number(key) or 0
    if not 0 <= vlan <= MAX_VLAN:
        raise CniError(
            INVALID_CONFIG,
            f"invalid VLAN ID {vlan} (must be between 0 and {MAX_VLAN})",
            '"vlan" must be the number of a VLAN; 0 for none',
        )
    return vlan


def _read_vlan_trunk(config: Section, key: str) -> list[int]:
    """Return the VLANs of the trunk, each once, in ascending order.

    Raises:
        CniError: an entry is neither a VLAN nor a range of VLANs.
    """
    vlans: set[int] = set()
    for entry in config.sections(key):
        low, high, single = entry.number("minID"), entry.number("maxID"), entry.number("id")
        if low is not None and high is None:
            raise _refuse_trunk("minID and maxID should be configured simultaneously, maxID is missing")
        if high is not None and low is None:
            raise _refuse_trunk("minID and maxID should be configured simultaneously, minID is missing")
        if low is not None and high is not None:
            if not 0 < low <= MAX_VLAN:
                raise _refuse_trunk("incorrect trunk minID parameter")
            if not 0 < high <= MAX_VLAN:
                raise _refuse_trunk("incorrect trunk maxID parameter")
            if low > high:
                raise _refuse_trunk("minID is greater than maxID in trunk parameter")
            vlans.update(range(low, high + 1))
        if single is not None:
            if not 0 < single <= MAX_VLAN:
                raise _refuse_trunk("incorrect trunk id parameter")
            vlans.add(single)
    return sorted(vlans)


def _read_watch(config: Section, key: str) -> "frozenset[str]":
    """Return what of `WATCHED` is restored."""
    stated = config.section(key)
    return frozenset(name for name, default in WATCHED.items() if stated.flag(name, default))


def _read_stated_policies(config: Section, _key: str) -> str:
    """Return the digest of the policies that both keys state."""
    from shibafu.policy.stated_policies import calc_stated_policies

    return calc_stated_policies(config)


def _read_uplinks(config: Section, _key: str) -> "UplinkKeys | None":
    """Return what all keys of uplinks state."""
    from shibafu.bridge.uplink_keys import parse_uplink_keys

    return parse_uplink_keys(config)


def _refuse_trunk(message: str) -> CniError:
    return CniError(
        INVALID_CONFIG,
        message,
        f'an entry of "vlanTrunk" has an "id", or "minID" and "maxID", from 1 to {MAX_VLAN}',
    )


def calc_gateway_link(bridge: str, vlan: int) -> str:
    """Return the name of the host's own link in a VLAN of the bridge."""
    return f"{bridge}.{vlan}"


# What is read of a configuration.
KEYS = fold_keys(
    ("accept_ra", "acceptRA", Section.flag),
    ("bridge", "bridge", lambda config, key: config.text(key) or DEFAULT_BRIDGE),
    ("disable_container_interface", "disableContainerInterface", Section.flag),
    ("dns", "dns", lambda config, key: parse_dns(config.section(key))),
    ("enable_dad", "enabledad", Section.flag),
    ("force_address", "forceAddress", Section.flag),
    ("gateway_ha", "gatewayHA", Section.text),
    ("gateway_host_ips", "gatewayHostIP", _read_host_ips),
    ("hairpin_mode", "hairpinMode", Section.flag),
    ("internal", "internal", Section.flag),
    ("ip_masq", "ipMasq", Section.flag),
    ("ip_masq_backend", "ipMasqBackend", Section.text),
    ("ip_spoof_check", "ipspoofchk", lambda config, key: config.flag(key) if key in config else True),
    ("ipam_type", "ipam", lambda config, key: config.section(key).text("type")),
    ("is_default_gateway", "isDefaultGateway", Section.flag),
    ("is_gateway", "isGateway", Section.flag),
    ("isolate", "isolate", _read_isolate),
    ("keep_ipv6", "keepIPv6", Section.flag),
    ("mac_spoof_check", "macspoofchk", Section.flag),
    ("metric", "metric", _read_metric),
    ("mtu", "mtu", lambda config, key: config.number(key) or 0),
    ("non_masqueraded", "nonMasqueradeCIDRs", _read_ranges),
    ("port_isolation", "portIsolation", Section.flag),
    ("preserve_default_vlan", "preserveDefaultVlan", Section.flag),
    ("promisc_mode", "promiscMode", Section.flag),
    (
        "publishes_ports",
        "runtimeConfig",
        lambda config, key: bool(config.section(key).get("portMappings")),
    ),
    ("stated_policies", "policies", _read_stated_policies),
    ("stated_policies", "policyDir", _read_stated_policies),
    ("uplinks", "moveAddresses", _read_uplinks),
    ("uplinks", "primaryReselect", _read_uplinks),
    ("uplinks", "uplinkMode", _read_uplinks),
    ("uplinks", "uplinkProbe", _read_uplinks),
    ("uplinks", "uplinks", _read_uplinks),
    ("vlan", "vlan", _read_vlan),
    ("vlan_trunk", "vlanTrunk", _read_vlan_trunk),
    ("vrrp_id", "vrrpID", Section.number),
    ("vrrp_priority", "vrrpPriority", Section.number),
    ("vrrp_track", "vrrpTrack", Section.texts),
    ("watch", "watch", _read_watch),
)
