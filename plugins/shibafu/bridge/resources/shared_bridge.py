"""What networks on one bridge have to agree on: what the records say of the others' containers there."""

from shibafu.bridge.config import BridgeConfig
from shibafu.cni.config import Section
from shibafu.cni.errors import INVALID_CONFIG, CniError
from shibafu.cni.names import ISOLATED, NETWORK_GROUPS, OPEN, STRICT
from shibafu.resource.record import ADDRESSED, CLAIMED, Record
from shibafu.resource.records import NetworkState, link_exists

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from shibafu.lean.ip import Cidr

_STRICTNESS = {OPEN: 0, ISOLATED: 1, STRICT: 2}
WORDS = {ISOLATED: "isolated", STRICT: "strictly isolated"}
_VALUES = {ISOLATED: "true", STRICT: f'"{STRICT}"'}


class Sharer:
    """An attachment on the same link as a network: on the bridge, in the same VLAN.

    Args:
        state: the records of its network.
        link: its link on the host.
        record: its own.
        isolation: how far its network is kept from others.
    """

    __slots__ = ("isolation", "link", "record", "state")

    def __init__(self, state: NetworkState, link: str, record: Record, isolation: str) -> None:
        self.state = state
        self.link = link
        self.record = record
        self.isolation = isolation

    def is_there(self) -> bool:
        """Return whether it has a link, or an ADD is about to make it."""
        return link_exists(self.link) or self.record.phase in (CLAIMED, ADDRESSED)

    def has_gateway(self, gateways: "list[Cidr] | None" = None) -> bool:
        """Return whether the host is its gateway, by one of these addresses if any are given."""
        stated = Section(self.record.config or {}, "NetConf")
        if not any(stated.get(key) for key in ("isGateway", "isDefaultGateway")) and stated.values:
            return False
        ips = (self.record.result or {}).get("ips")
        if gateways is None or not isinstance(ips, list):
            return True  # what is not known may be so
        used = {ip.get("gateway") for ip in ips if isinstance(ip, dict)}
        own = stated.get("gatewayHostIP")
        used.update(own if isinstance(own, list) else ())
        return any({str(one.address), str(one)} & used for one in gateways)

    def describe(self) -> str:
        """Return in what a network that is isolated less strictly differs from its own, in words."""
        where = f'network "{self.state.network}" on bridge "{self.record.bridge}"'
        return f"{where} is {WORDS.get(self.isolation, 'open')}, and this one is not"

    @property
    def advice(self) -> str:
        """What to do about it."""
        value = _VALUES.get(self.isolation, "")
        return f'networks on the same bridge must agree: set "isolate" to {value}, or choose another "bridge"'


def refuse_stricter(config: BridgeConfig) -> None:
    """Refuse a bridge on which another network has containers that it isolates more strictly.

    Raises:
        CniError: it is such a bridge.
    """
    other = find_stricter(config)
    if other is not None:
        raise CniError(INVALID_CONFIG, other.describe(), other.advice)


def find_stricter(config: BridgeConfig) -> Sharer | None:
    """Return a container on a network's link that another network isolates more strictly, or None."""
    own = _STRICTNESS[config.isolate]
    return next(
        (
            other
            for other in list_sharers(config)
            if other.state.network != config.network
            and _STRICTNESS[other.isolation] > own
            and other.is_there()
        ),
        None,
    )


def has_stricter_sharer(config: BridgeConfig, besides: str, group: int) -> bool:
    """Return whether a group does less for any other attachment on a network's link than it should.

    Args:
        config: the network's configuration.
        besides: the attachment that does not count, by its link.
        group: the group of the link.
    """
    levels = {NETWORK_GROUPS[isolation]: level for isolation, level in _STRICTNESS.items()}
    found = levels.get(group, -1)
    return any(_STRICTNESS[other.isolation] > found for other in list_sharers(config, besides))


def list_sharers(config: BridgeConfig, besides: str = "") -> "Iterator[Sharer]":
    """Yield the attachments of all networks on a network's link, except one."""
    own = NetworkState(config.network)
    try:
        names = own.networks()
    except FileNotFoundError:
        return
    for name in names:
        state = NetworkState(name)
        rules = state.read_rules()
        for link in state.attachments():
            record = state.read_attachment(link)
            stated = Section(record.config or {}, "NetConf")
            # Those of version 1 do not tell the VLAN.
            has_same_vlan = record.config is None or (stated.get("vlan") or 0) == config.vlan
            if link != besides and record.bridge == config.bridge and has_same_vlan:
                # The rules are the network's, and what the last ADD wanted.
                value = rules.get("isolated") if rules else stated.get("isolate")
                isolation = STRICT if value == STRICT else ISOLATED if value is True else OPEN
                yield Sharer(state, link, record, isolation)
