"""What identifies one attachment and its bridge, and the names and addresses computed from that."""

import os

from shibafu.bridge.config import BridgeConfig
from shibafu.cni.names import LABEL_ANNOTATION, POD_ANNOTATIONS, calc_digest, calc_host_veth
from shibafu.resource.record import Record, select_recorded

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shibafu.cni.request import Request
    from shibafu.resource.identity import NetnsIdentity

# Of runtimeConfig, what this plugin and its IPAM plugin go by; the rest is for other plugins of the chain,
# and may change while the container runs.
_KEPT = ("ips", "ipranges", "mac", "portmappings")


def calc_mac(first_byte: int, *owner: str) -> bytes:
    """Return a locally administered unicast hardware address that stands for its owner.

    An address that was set explicitly is one that udev leaves alone, and one that is computed is the
    same when a link is made again, so that neighbours' caches stay right.
    """
    return bytes([first_byte]) + bytes.fromhex(calc_digest(*owner, size=5))


def calc_bridge_mac(bridge: str) -> bytes:
    """Return the hardware address of a bridge, if an ADD made that.

    Where nothing identifies the machine, each bridge gets another one.
    """
    return calc_mac(0x02, _machine_id() or os.urandom(16).hex(), bridge)


def _machine_id() -> str:
    """Return what tells links of this machine from those of others on one segment; empty if nothing does.

    It is written as earlier releases wrote it: their bridges are known by addresses computed from it.
    """
    # Not at the top: only ADD needs it.
    from shibafu.lean.machine_id import read_machine_id

    digits = read_machine_id()
    return f"{digits}\n".encode().hex() if digits else ""


class Attachment:
    """One interface of one container on one network.

    Args:
        request: the call.
        config: its configuration.
    """

    __slots__ = ("_identity", "_mac", "config", "host_link", "request")

    def __init__(self, request: "Request", config: BridgeConfig) -> None:
        self.request = request
        self.config = config
        self._identity = (config.network, request.container_id, request.ifname)
        self._mac = config.mac
        self.host_link = calc_host_veth(*self._identity)

    @property
    def host_mac(self) -> bytes:
        """The hardware address of its link on the host."""
        # A bridge whose address is not pinned takes its lowest port's: this one is never the lowest.
        return calc_mac(0xFE, *self._identity)

    @property
    def mac(self) -> bytes:
        """The hardware address of its interface, unless a later plugin of the chain has changed it."""
        # Not before it is asked for: CHECK and DEL do without.
        if self._mac is None:
            # The container of another host may have the same name, and be on the same segment.
            self._mac = calc_mac(0x02, _machine_id(), *self._identity)
        return self._mac

    @property
    def ifname(self) -> str:
        """The link's name inside the container."""
        return self.request.ifname

    def calc_record(self, identity: "NetnsIdentity | None") -> Record:
        """Return the record that the attachment begins with.

        Args:
            identity: the container's network namespace.
        """
        request, config = self.request, self.config
        return Record(
            request.container_id,
            self.ifname,
            request.netns,
            config.bridge,
            self.mac.hex(":"),
            config.mac_spoof_check,
            config.internal,
            identity=identity,
            config=_calc_recorded_config(request.config.values),
            args=request.args,
            cni_path=request.env.get("CNI_PATH", ""),
        )


def _calc_recorded_config(values: dict[str, object]) -> dict[str, object]:
    """Return what is remembered of a configuration: what the attachment can be made with again."""
    recorded = select_recorded(values)
    for key, value in recorded.items():
        if key.lower() == "runtimeconfig" and isinstance(value, dict):
            recorded[key] = {
                name: _keep_labels(wanted) if name == POD_ANNOTATIONS else wanted
                for name, wanted in value.items()
                if name.lower() in _KEPT or name == POD_ANNOTATIONS
            }
    return recorded


def _keep_labels(annotations: object) -> object:
    """Return those of a pod's annotations that network policies go by; others are of no use here."""
    if not isinstance(annotations, dict):
        return annotations
    return {key: value for key, value in annotations.items() if key.startswith(LABEL_ANNOTATION)}
