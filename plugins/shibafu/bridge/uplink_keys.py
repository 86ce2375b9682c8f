"""The keys that give a bridge redundant uplinks."""

from shibafu.cni.errors import INVALID_CONFIG, CniError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shibafu.cni.config import Section

# What chooses the uplink through which everything goes: `shibafu watch`, or the kernel.
ACTIVE_BACKUP, BOND, STP = "active-backup", "bond", "stp"
_MODES = (ACTIVE_BACKUP, BOND, STP)
# What only means something where `shibafu watch` chooses the active one.
_WATCHED_KEYS = ("uplinkProbe", "primaryReselect")
_NO_PROBE = "none"
_FAILURE, _ALWAYS = "failure", "always"
# With these, frames of an uplink would be those of another VLAN, or lead out of what is closed.
_EXCLUDED = ("internal", "vlan", "vlanTrunk")


class UplinkKeys:
    """What is stated of a bridge's uplinks.

    Args:
        links: their names, the preferred one first.
        mode: what makes one of them the way out: ACTIVE_BACKUP, BOND or STP.
        probe: the IPv4 address that is asked for through the active one, packed; None where none is stated.
        is_probed: whether any address is asked for; where none is stated, it is the containers' gateway.
        moves_addresses: whether the bridge gets the addresses that they have; networks need not agree on it.
        is_reselected: whether the preferred one becomes active again once it works.
    """

    __slots__ = ("is_probed", "is_reselected", "links", "mode", "moves_addresses", "probe")

    def __init__(
        self,
        links: "tuple[str, ...]",
        mode: str,
        probe: bytes | None,
        is_probed: bool,
        is_reselected: bool,
        moves_addresses: bool = False,
    ) -> None:
        self.links = links
        self.mode = mode
        self.probe = probe
        self.is_probed = is_probed
        self.is_reselected = is_reselected
        self.moves_addresses = moves_addresses

    def __eq__(self, other: object) -> bool:
        return isinstance(other, UplinkKeys) and all(
            getattr(self, name) == getattr(other, name)
            for name in self.__slots__
            if name != "moves_addresses"
        )

    __hash__ = None  # type: ignore[assignment]  # nobody needs it


def parse_uplink_keys(config: "Section") -> UplinkKeys | None:
    """Return what a configuration states of uplinks; None where it states none.

    Raises:
        CniError: a name, an address or a combination that cannot be.
    """
    links = tuple(config.texts("uplinks"))
    if not links:
        for key in ("uplinkMode", "moveAddresses", *_WATCHED_KEYS):
            if config.get(key) not in (None, False):
                raise CniError(INVALID_CONFIG, f"{key} needs uplinks", f'add "uplinks", or remove "{key}"')
        return None
    _require_names(config, links)
    for key in _EXCLUDED:
        if config.get(key):
            raise CniError(
                INVALID_CONFIG, f"a network with {key} cannot have uplinks", f'remove "uplinks" or "{key}"'
            )
    mode = _parse_mode(config)
    reselection = config.text("primaryReselect") or _FAILURE
    if reselection not in (_FAILURE, _ALWAYS):
        what = f'invalid primaryReselect "{reselection}"'
        raise CniError(INVALID_CONFIG, what, f'"primaryReselect" must be "{_FAILURE}" or "{_ALWAYS}"')
    text = config.text("uplinkProbe")
    probe = _parse_probe(text) if text not in ("", _NO_PROBE) else None
    return UplinkKeys(
        links, mode, probe, text != _NO_PROBE, reselection == _ALWAYS, _parse_movement(config, mode)
    )


def _parse_movement(config: "Section", mode: str) -> bool:
    """Return whether the bridge gets the addresses of its uplinks."""
    if not config.flag("moveAddresses"):
        return False
    if config.get("gatewayHA"):
        what = "a network with gatewayHA cannot take over the addresses of its uplinks"
        raise CniError(INVALID_CONFIG, what, 'remove "moveAddresses" or "gatewayHA"')
    if mode != ACTIVE_BACKUP:
        what = f"uplinkMode {mode} would make the addresses of uplinks unreachable for a while"
        advice = f'remove "moveAddresses", or set "uplinkMode" to "{ACTIVE_BACKUP}"'
        raise CniError(INVALID_CONFIG, what, advice)
    return True


def _parse_mode(config: "Section") -> str:
    mode = config.text("uplinkMode") or ACTIVE_BACKUP
    if mode not in _MODES:
        *most, last = (f'"{one}"' for one in _MODES)
        advice = f'"uplinkMode" must be {", ".join(most)} or {last}'
        raise CniError(INVALID_CONFIG, f'invalid uplinkMode "{mode}"', advice)
    for key in _WATCHED_KEYS if mode != ACTIVE_BACKUP else ():
        if config.get(key) is not None:
            what = f"{key} has no effect with uplinkMode {mode}: the kernel chooses the active uplink"
            raise CniError(INVALID_CONFIG, what, f'remove "{key}", or set "uplinkMode" to "{ACTIVE_BACKUP}"')
    return mode


def _require_names(config: "Section", links: "tuple[str, ...]") -> None:
    from shibafu.bridge.config import DEFAULT_BRIDGE, is_valid_link_name

    bridge = config.text("bridge") or DEFAULT_BRIDGE
    for name in links:
        if not is_valid_link_name(name) or name in (bridge, "lo"):
            advice = (
                'each of "uplinks" is the name of a link of the host, such as eth1, not the bridge itself '
                "(`network create --uplink eth1 --uplink eth2`)"
            )
            raise CniError(INVALID_CONFIG, f'invalid uplink "{name}"', advice)
    if len(set(links)) < len(links):
        raise CniError(INVALID_CONFIG, "an uplink is stated twice", 'name each of "uplinks" once')


def _parse_probe(text: str) -> bytes:
    from shibafu.lean.ip import parse_address

    try:
        address = parse_address(text)
    except ValueError:
        address = None
    # Nobody has one of 0.0.0.0/8, 127.0.0.0/8 or 224.0.0.0/3 on a segment.
    if address is None or address.version != 4 or address.packed[0] in (0, 127, *range(224, 256)):
        what = f'invalid uplinkProbe "{text}"'
        advice = f'"uplinkProbe" must be an IPv4 address that answers ARP requests, or "{_NO_PROBE}"'
        raise CniError(INVALID_CONFIG, what, advice)
    return address.packed
