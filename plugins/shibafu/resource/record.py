"""The record of one attachment, and how far it has come.

A file holds one JSON object. Its keys at the top are those of version 1, so that an earlier release finds and
removes what this one attached; version 2 adds all that is needed to make the attachment again.
"""

from shibafu.lean.json import dumps_lines, loads
from shibafu.resource.identity import NetnsIdentity

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shibafu.lean.ip import Cidr

VERSION = 2
# How far an attachment has come: it is begun; it has its addresses; it is whole; it is being removed.
CLAIMED = "claimed"
ADDRESSED = "addressed"
COMPLETE = "complete"
LEAVING = "leaving"
_PHASES = (CLAIMED, ADDRESSED, COMPLETE, LEAVING)
# What is not kept of a configuration, in lower case: policies may be long, and are the host's.
_NOT_KEPT = ("prevresult", "policies")


def select_recorded(values: "dict[str, object]") -> "dict[str, object]":
    """Return what a record keeps of a configuration."""
    return {key: value for key, value in values.items() if key.lower() not in _NOT_KEPT}


class Record:
    """What is known about an attachment; unknown parts are empty.

    Args:
        container_id: the container.
        ifname: its interface.
        netns: the path of its network namespace.
        bridge: the bridge that its port is on.
        mac: the hardware address of its interface, as text.
        has_spoof_check: whether its port has the MAC spoof check.
        is_internal: whether its network's rules keep it from the host.
        ips: its addresses with their prefixes, as text.
        phase: how far it has come. Version 1 did not say: then it counts as whole.
        identity: which namespace was at `netns`; None in version 1.
        config: the configuration that it was made with, see `select_recorded`; None in version 1.
        args: CNI_ARGS.
        cni_path: CNI_PATH.
        result: what ADD answered, in the version that the configuration states; None until it has.
        version: of the record; 0 for an incomplete document.
    """

    __slots__ = (
        "args",
        "bridge",
        "cni_path",
        "config",
        "container_id",
        "has_spoof_check",
        "identity",
        "ifname",
        "ips",
        "is_internal",
        "mac",
        "netns",
        "phase",
        "result",
        "version",
    )

    def __init__(
        self,
        container_id: str,
        ifname: str,
        netns: str = "",
        bridge: str = "",
        mac: str = "",
        has_spoof_check: bool = False,
        is_internal: bool = False,
        ips: list[str] | None = None,
        phase: str = CLAIMED,
        identity: NetnsIdentity | None = None,
        config: dict[str, object] | None = None,
        args: str = "",
        cni_path: str = "",
        result: dict[str, object] | None = None,
        version: int = VERSION,
    ) -> None:
        self.container_id = container_id
        self.ifname = ifname
        self.netns = netns
        self.bridge = bridge
        self.mac = mac
        self.has_spoof_check = has_spoof_check
        self.is_internal = is_internal
        self.ips = ips or []
        self.phase = phase
        self.identity = identity
        self.config = config
        self.args = args
        self.cni_path = cni_path
        self.result = result
        self.version = version

    @property
    def owner(self) -> tuple[str, str] | None:
        """The container's ID and the interface; None for a record that names none."""
        return (self.container_id, self.ifname) if self.container_id and self.ifname else None

    @property
    def addresses(self) -> "list[Cidr]":
        """The addresses, without malformed ones."""
        from shibafu.lean.ip import parse_cidr

        found = []
        for text in self.ips:
            try:
                found.append(parse_cidr(text))
            except ValueError:
                continue  # somebody has written into the record
        return found

    def has_ended(self) -> bool:
        """Return whether the container's namespace is known, and no longer at its path."""
        return self.identity is not None and self.identity.has_ended()

    def to_bytes(self) -> bytes:
        """Return the content of the file, beginning with what identifies its owner."""
        fields: dict[str, object] = {
            "containerID": self.container_id,
            "ifname": self.ifname,
            "netns": self.netns,
            "bridge": self.bridge,
            "mac": self.mac,
            "macspoofchk": self.has_spoof_check,
            "internal": self.is_internal,
            "ips": self.ips,
            "v": VERSION,
            "phase": self.phase,
            "netnsIdentity": self.identity.to_json() if self.identity is not None else None,
            "args": self.args,
            "cniPath": self.cni_path,
            "config": self.config,
            "result": self.result,
        }
        text = dumps_lines({key: value for key, value in fields.items() if value is not None})
        # Surrogates stand for bytes of the environment that are not UTF-8.
        return text.encode("utf-8", "backslashreplace")

    @classmethod
    def parse(cls, content: bytes) -> "Record":
        """Parse a file; of one that is damaged or written by another program, what can be read."""
        try:
            document = loads(content)
        except ValueError:
            document = _read_lines(content)
            is_whole = False
        else:
            is_whole = isinstance(document, dict)
        fields = document if isinstance(document, dict) else {}

        def text(key: str) -> str:
            value = fields.get(key)
            return value if isinstance(value, str) else ""

        ips, config, result, phase = (fields.get(key) for key in ("ips", "config", "result", "phase"))
        version = fields.get("v", 1)
        return cls(
            text("containerID"),
            text("ifname"),
            text("netns"),
            text("bridge"),
            text("mac") if parse_known_mac(text("mac")) else "",
            fields.get("macspoofchk") is True,
            fields.get("internal") is True,
            [ip for ip in ips if isinstance(ip, str)] if isinstance(ips, list) else [],
            phase if isinstance(phase, str) and phase in _PHASES else COMPLETE,
            NetnsIdentity.from_json(text("netns"), fields.get("netnsIdentity")),
            config if isinstance(config, dict) else None,
            text("args"),
            text("cniPath"),
            result if isinstance(result, dict) else None,
            version if is_whole and isinstance(version, int) else 0,
        )


def parse_known_mac(text: str) -> bytes | None:
    """Return the hardware address that a record or a result states; None where that is none."""
    try:
        mac = bytes.fromhex(text.replace(":", ""))
    except ValueError:
        return None
    return mac if len(mac) == 6 else None


def _read_lines(content: bytes) -> dict[str, object]:
    """Return what the lines of a torn document say: each has one key of the top, until an object begins.

    A process that is killed while it writes leaves the beginning of the new content, and the end of the old.
    """
    fields: dict[str, object] = {}
    for line in content.splitlines():
        if line.startswith(b'    "'):
            try:
                found = loads(b"{" + line.removesuffix(b",") + b"}")
            except ValueError:
                continue
            if isinstance(found, dict):
                # The first of two is the newer.
                fields = found | fields
    return fields
