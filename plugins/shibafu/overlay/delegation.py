"""What shibafu-overlay hands over to the plugin that does its work: the keys of flannel's CNI plugin.

Of a subnet file and its own configuration it makes that of a bridge plugin, or of another one.
"""

from shibafu.cni.config import Section
from shibafu.cni.errors import INVALID_CONFIG, CniError
from shibafu.overlay.subnet_file import FLANNEL_SUBNET_FILE, HostSubnet, calc_subnet_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from shibafu.cni.request import Request

DEFAULT_DATA_DIR = "/var/lib/cni/flannel"
# Called by this name, the plugin has those of the reference do its work.
_FLANNEL = "flannel"
_BRIDGE, _REFERENCE_BRIDGE = "shibafu-bridge", "bridge"
_IPAM, _REFERENCE_IPAM = "shibafu-ipam", "host-local"
# What one call has and the next one may not.
_OF_THE_CALL = ("cniVersion", "prevResult", "cni.dev/attachments", "cni.dev/valid-attachments")
# What the runtime asks for is the delegate's matter.
_PASSED_ON = ("args", "runtimeConfig")
# What would have containers unrestricted if it were passed over here.
_DELEGATE_ONLY = ("policies", "policyDir")
# What DEL and GC read, and what of the objects in it.
_NEEDED = {"subnetFile": str, "dataDir": str, "args": dict, "runtimeConfig": dict}
_NEEDED_INSIDE: dict[str, dict[str, type]] = {
    "delegate": {"type": str},
    "ipam": {"type": str, "routes": list},
}


class OverlayConfig:
    """A validated configuration; the attributes are the keys of docs/configuration.md.

    Args:
        request: the call.

    Raises:
        CniError: INVALID_CONFIG for a value of a wrong type, or a key of the delegate that is set here. DEL
            and GC take what they can of such a configuration.
    """

    __slots__ = ("_call", "_is_flannel", "_network", "data_dir", "delegate", "ipam", "subnet_file")

    def __init__(self, request: "Request") -> None:
        is_removal = request.command in ("DEL", "GC")
        config = _keep_valid(request.config) if is_removal else request.config
        self._network = request.network
        self._is_flannel = request.config.get("type") == _FLANNEL
        default = FLANNEL_SUBNET_FILE if self._is_flannel else calc_subnet_file(self._network)
        self.subnet_file = config.text("subnetFile") or default
        self.data_dir = config.text("dataDir") or DEFAULT_DATA_DIR
        self.delegate = config.section("delegate").values
        self.ipam = config.section("ipam").values
        if not is_removal:
            _refuse_policies(request.config)
            _validate(self.delegate, self.ipam)
        self._call = {
            **{key: config.section(key).values for key in _PASSED_ON if key in config},
            **{key: value for key in _OF_THE_CALL if (value := config.get(key)) is not None},
        }

    def render(self, host: HostSubnet | None) -> dict[str, object]:
        """Return the delegate's configuration.

        Args:
            host: what the subnet file says; None where there is none, which is enough for removing.
        """
        given = _leave_out(self.delegate, "name", "ipam", *self._call)
        defaults: dict[str, object] = {"type": _REFERENCE_BRIDGE if self._is_flannel else _BRIDGE}
        plugin_type = Section(defaults | given, "NetConf").text("type")
        if host is not None:
            defaults |= {"ipMasq": not host.ip_masq, "mtu": host.mtu}
        if plugin_type in (_BRIDGE, _REFERENCE_BRIDGE):
            defaults["isGateway"] = True
            if host is not None and Section(_leave_out(defaults, *given) | given, "").get("ipMasq") is True:
                # Containers of other hosts see those of this host by their own addresses.
                defaults["nonMasqueradeCIDRs"] = [str(network) for network in host.networks]
        values = {"name": self._network} | _leave_out(defaults, *given) | given | self._call
        return values | {"ipam": self._render_ipam(host, plugin_type)}

    def amend(self, sent: dict[str, object]) -> dict[str, object]:
        """Return the configuration that ADD has sent, with what this call has to say."""
        return _leave_out(sent, *_OF_THE_CALL, *self._call) | self._call

    def _render_ipam(self, host: HostSubnet | None, plugin_type: str) -> dict[str, object]:
        default = {"type": _IPAM if plugin_type == _BRIDGE else _REFERENCE_IPAM}
        ipam = _leave_out(default, *self.ipam) | self.ipam
        if host is None:
            return ipam
        routes = Section(ipam, "NetConf.ipam").array("routes")
        ranges = [[{"subnet": str(subnet.network)}] for subnet in host.subnets]
        routes = [*routes, *({"dst": str(network)} for network in host.networks)]
        return _leave_out(ipam, "ranges", "routes") | {"ranges": ranges, "routes": routes}


def _refuse_policies(config: Section) -> None:
    """Refuse policies that nobody would enforce."""
    for key in _DELEGATE_ONLY:
        if key in config:
            raise CniError(
                INVALID_CONFIG,
                f'"{key}" is not a key of shibafu-overlay but of its delegate',
                f'write "{key}" into "delegate"',
            )


def _validate(delegate: "Mapping[str, object]", ipam: dict[str, object]) -> None:
    section = Section(dict(delegate), "NetConf.delegate")
    if "type" in section and not (isinstance(section.get("type"), str) and section.get("type")):
        raise CniError(
            INVALID_CONFIG,
            "'delegate' dictionary, if present, must have (string) 'type' field",
            f'change "type" to the name of a plugin, or leave it out for {_BRIDGE}',
        )
    for key in ("name", "ipam"):
        if _has(delegate, key):
            raise CniError(
                INVALID_CONFIG,
                f"'delegate' dictionary must not have '{key}' field, it'll be set by flannel",
                f'remove "{key}" from "delegate", or write it next to that',
            )
    Section(ipam, "NetConf.ipam").array("routes")


def _keep_valid(config: Section) -> Section:
    """Return what removing needs of a configuration; a value of a wrong type is none."""
    values: dict[str, object] = {key: config.get(key) for key in _OF_THE_CALL}
    values |= {key: value for key, kind in _NEEDED.items() if isinstance(value := config.get(key), kind)}
    for key, kinds in _NEEDED_INSIDE.items():
        inner = config.get(key)
        values[key] = {
            name: value
            for name, value in (inner.items() if isinstance(inner, dict) else ())
            if value != "" and isinstance(value, kinds.get(name.lower(), object))
        }
    return Section(values, config.name)


def _has(values: "Mapping[str, object]", key: str) -> bool:
    return any(stated.lower() == key.lower() for stated in values)


def _leave_out(values: "Mapping[str, object]", *keys: str) -> dict[str, object]:
    """Return an object without some keys, in any spelling of their case."""
    folded = {key.lower() for key in keys}
    return {key: value for key, value in values.items() if key.lower() not in folded}
