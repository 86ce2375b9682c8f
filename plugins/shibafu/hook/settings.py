"""What is asked for: by flags of the hook, and by annotations of the container's bundle; see `allowance`."""

from shibafu.cni.errors import INVALID_CONFIG, CniError, calc_line
from shibafu.cni.names import is_valid_identifier
from shibafu.cni.rates import calc_burst, parse_bits
from shibafu.hook.allowed_values import (
    PREFIX,
    Allowed,
    calc_refusal,
    find_allowed,
    parse_allow,
    says_the_same,
    split_items,
)
from shibafu.lean.ip import parse_address, parse_cidr, parse_mac
from shibafu.runtime import cache, conflist

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NO_NETWORK = "none"
_OF_POLICIES = ("namespace", "named-ports")
_KEYS = ("network", "ip", "mac", "ports", "bandwidth", "resolv-conf", "hosts", *_OF_POLICIES)
_FAMILIES = ("ip.", "mac.", "labels.")
_ALLOW = "allow"
_PLACES = ("conf-dir", "cache-dir", "cni-path", "sticky-dir")

_CNI_PATH = "/opt/cni/bin:/usr/lib/cni"
# Runtimes give hooks no environment, and plugins call iptables.
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# In bits; the bandwidth plugins refuse more.
_MAX_BURST = 2**32 - 1
_MAX_LENGTH = 16384  # of an annotation; programs' arguments have limits, too
_FIRST_UNPRIVILEGED_PORT = 1024


class Flags:
    """The flags of the hook.

    Args:
        values: what they say, by their names without dashes.
        allowed: what annotations may say in spite of them.
    """

    __slots__ = ("allowed", "values")

    def __init__(self, values: dict[str, str], allowed: Allowed | None = None) -> None:
        self.values = values
        self.allowed = allowed or {}

    @property
    def settings(self) -> dict[str, str]:
        """What they ask for, by the names that annotations have, too."""
        return {key: value for key, value in self.values.items() if key not in _PLACES}

    @property
    def conf_dir(self) -> str:
        """Where networks are configured."""
        return self.values.get("conf-dir", conflist.DIRECTORY)

    @property
    def cache_dir(self) -> str:
        """The cache of results."""
        return self.values.get("cache-dir", cache.DIRECTORY)

    @property
    def sticky_dir(self) -> str:
        """Where containers' addresses are saved; empty to save none."""
        return self.values.get("sticky-dir", "")

    def cni_path(self, env: "Mapping[str, str]") -> str:
        """Return where plugins are."""
        return self.values.get("cni-path") or env.get("CNI_PATH") or _CNI_PATH

    def plugin_env(self, env: "Mapping[str, str]") -> dict[str, str]:
        """Return the plugins' environment."""
        return {"PATH": _PATH} | dict(env)


class NamedFile:
    """A file to write.

    Args:
        path: its path; empty for the one that is mounted.
        is_trusted: whether the administrator names it, who may name one outside of the bundle.
    """

    __slots__ = ("is_trusted", "path")

    def __init__(self, path: str = "", is_trusted: bool = False) -> None:
        self.path = path
        self.is_trusted = is_trusted


class Settings:
    """What is asked for.

    Args:
        networks: names; the first is for eth0.
        ips: requested addresses, by network.
        macs: requested hardware addresses, by network.
        ports: the capability portMappings.
        bandwidth: the capability bandwidth.
        resolv_conf: file to write as /etc/resolv.conf.
        hosts: likewise for /etc/hosts.
        policy_args: pairs of CNI_ARGS that state what network policies find the container by.
    """

    __slots__ = ("bandwidth", "hosts", "ips", "macs", "networks", "policy_args", "ports", "resolv_conf")

    def __init__(
        self,
        networks: list[str],
        ips: dict[str, list[str]],
        macs: dict[str, str],
        ports: list[dict[str, object]],
        bandwidth: dict[str, int],
        resolv_conf: NamedFile,
        hosts: NamedFile,
        policy_args: dict[str, str],
    ) -> None:
        self.networks = networks
        self.ips = ips
        self.macs = macs
        self.ports = ports
        self.bandwidth = bandwidth
        self.resolv_conf = resolv_conf
        self.hosts = hosts
        self.policy_args = policy_args


def parse_flags(argv: "Sequence[str]") -> Flags:
    """Parse `--key=value` and `--key value`.

    Raises:
        CniError: a flag is unknown or has no value.
    """
    values = {}
    allowed: Allowed = {}
    rest = list(argv)
    while rest:
        flag = rest.pop(0)
        name, equals, value = flag.partition("=")
        key = name.removeprefix("--")
        if not name.startswith("--") or not (key in (_ALLOW, *_PLACES) or _is_key(key)):
            raise CniError(INVALID_CONFIG, f'unknown flag "{flag}"', "shibafu-hook --help lists the flags")
        if not equals:
            if not rest:
                raise CniError(INVALID_CONFIG, f"{name} needs a value", f"write {name}=VALUE")
            value = rest.pop(0)
        if key != _ALLOW:
            values[key] = value
            continue
        key, only = parse_allow(value)
        if not _is_key(key):
            raise CniError(
                INVALID_CONFIG,
                f'--allow={value}: "{key}" is not an annotation',
                "write --allow=KEY, or --allow=KEY=VALUE|VALUE",
            )
        allowed[key] = only
    return Flags(values, allowed)


def parse_settings(flags: Flags, annotations: "Mapping[str, str]") -> Settings:
    """Parse flags, and the annotations that add to them or are allowed to change them.

    Raises:
        CniError: one is unknown, malformed or not allowed, or there is no network.
    """
    asked = _strip_prefix(annotations)
    networks = _choose_networks(flags, asked)
    if not networks:
        raise CniError(
            INVALID_CONFIG,
            "no network is specified",
            f'add the annotation "{PREFIX}network" to config.json, or --network to the hook\'s args',
        )
    networks = [] if networks == [NO_NETWORK] else networks
    _validate_networks(networks)
    stated = flags.settings
    # `ip` is the first network's, and the administrator's first network is that of the flags.
    first = split_items(stated.get("network", "")) or networks
    stated, asked = _name_networks(stated, first), _name_networks(asked, networks)
    for key, value in asked.items():
        refusal = calc_refusal(stated, flags.allowed, key, value)
        if refusal:
            raise refusal
    given = stated | {key: text for key, text in asked.items() if not says_the_same(stated, key, text)}
    ports = [_parse_port(text) for text in split_items(given.get("ports", ""))]
    if given.get("ports") != stated.get("ports"):
        _require_unprivileged(ports, flags)
    return Settings(
        networks,
        {name: _parse_ips(text) for name, text in _by_network(given, "ip", networks).items()},
        {name: _require_mac(text) for name, text in _by_network(given, "mac", networks).items()},
        ports,
        _parse_bandwidth(given.get("bandwidth", "")),
        _choose_file(given, stated, "resolv-conf"),
        _choose_file(given, stated, "hosts"),
        _parse_policy_args(given),
    )


def _choose_file(given: "Mapping[str, str]", stated: "Mapping[str, str]", key: str) -> NamedFile:
    """Return a file, and whether a flag names it."""
    return NamedFile(given.get(key, ""), is_trusted=given.get(key) == stated.get(key))


def parse_networks(flags: Flags, annotations: "Mapping[str, str]") -> list[str]:
    """Parse only the networks' names, which is all that detaching needs."""
    name = f"{PREFIX}network"
    try:
        networks = _choose_networks(flags, {"network": annotations[name]} if name in annotations else {})
    except CniError:
        # With these the container was never attached.
        networks = split_items(flags.values.get("network", ""))
    return [] if networks == [NO_NETWORK] else networks


def _strip_prefix(annotations: "Mapping[str, str]") -> dict[str, str]:
    """Return the annotations that are ours, without their prefix."""
    asked = {}
    for name, value in annotations.items():
        if name.startswith(PREFIX):
            key = name.removeprefix(PREFIX)
            if not _is_key(key):
                known = ", ".join(PREFIX + known for known in _KEYS)
                raise CniError(
                    INVALID_CONFIG, f'unknown annotation "{name[:80]}"', f"known annotations are {known}"
                )
            if len(value) > _MAX_LENGTH:
                raise CniError(INVALID_CONFIG, f'"{name[:80]}" is longer than {_MAX_LENGTH} characters')
            asked[key] = value
    return asked


def _choose_networks(flags: Flags, asked: "Mapping[str, str]") -> list[str]:
    stated = flags.settings
    if "network" not in asked:
        return split_items(stated.get("network", ""))
    refusal = calc_refusal(stated, flags.allowed, "network", asked["network"])
    if refusal:
        raise refusal
    return split_items(asked["network"])


def _validate_networks(networks: list[str]) -> None:
    for name in networks:
        if not is_valid_identifier(name):
            raise CniError(
                INVALID_CONFIG,
                f'"{PREFIX}network": {name[:80]!r} is not the name of a network',
                "names have letters, digits and any of _ . -, and begin with a letter or digit",
            )
    if len(set(networks)) < len(networks):
        raise CniError(INVALID_CONFIG, f'"{PREFIX}network" names a network twice')


def _name_networks(given: dict[str, str], networks: list[str]) -> dict[str, str]:
    """Return settings with `ip.NETWORK` and `mac.NETWORK` for `ip` and `mac`, which are the first one's."""
    named = dict(given)
    for key in ("ip", "mac") if networks else ():
        if key in named:
            named.setdefault(f"{key}.{networks[0]}", named.pop(key))
    return named


def _require_unprivileged(ports: list[dict[str, object]], flags: Flags) -> None:
    """Refuse ports of the host's own services where others than the administrator ask for them.

    A hook without flags about networks says nothing of who that is: bundles list it themselves.
    """
    if not (flags.settings or flags.allowed) or find_allowed(flags.allowed, "ports"):
        return
    for port in ports:
        number = port["hostPort"]
        # Those that are chosen are none of them.
        if isinstance(number, int) and 0 < number < _FIRST_UNPRIVILEGED_PORT:
            raise CniError(
                INVALID_CONFIG,
                f'"{PREFIX}ports": {number} is a port of the host below {_FIRST_UNPRIVILEGED_PORT}, '
                "which an annotation cannot publish",
                "choose a higher one, or ask the administrator to add --allow=ports to the hook's args",
            )


def _parse_policy_args(given: dict[str, str]) -> dict[str, str]:
    if not any(key in _OF_POLICIES or key.startswith("labels.") for key in given):
        return {}
    from shibafu.hook.policy_settings import parse_policy_args

    return parse_policy_args(given)


def _is_key(key: str) -> bool:
    return key in _KEYS or key.startswith(_FAMILIES)


def _by_network(given: dict[str, str], key: str, networks: list[str]) -> dict[str, str]:
    """Return the values of `key.NETWORK`."""
    prefix = f"{key}."
    values = {name.removeprefix(prefix): text for name, text in given.items() if name.startswith(prefix)}
    strangers = [name for name in values if name not in networks]
    if strangers:
        raise CniError(
            INVALID_CONFIG,
            f'"{PREFIX}{key}.{strangers[0][:80]}" is for a network that the container is not on',
            f'add it to "{PREFIX}network"',
        )
    return {name: text.strip() for name, text in values.items() if text.strip()}


def _require_mac(text: str) -> str:
    try:
        parse_mac(text)
    except ValueError as error:
        raise CniError(
            INVALID_CONFIG,
            f'"{PREFIX}mac": {calc_line(str(error))}',
            "write six pairs of hexadecimal digits, such as 02:42:0a:00:00:05",
        ) from None
    return text


def _parse_ips(text: str) -> list[str]:
    ips = split_items(text)
    for ip in ips:
        try:
            parse_cidr(ip) if "/" in ip else parse_address(ip)
        except ValueError as error:
            raise CniError(INVALID_CONFIG, f'"{PREFIX}ip": {calc_line(str(error))}') from None
    return ips


def _parse_port(text: str) -> dict[str, object]:
    """Parse `[IP:]HOST[-LAST]:CONTAINER[-LAST][/PROTOCOL]`; an IPv6 address is in brackets."""
    ports, _, protocol = text.partition("/")
    host, _, container_ports = ports.rpartition(":")
    host_ip, _, host_ports = host.rpartition(":")
    (first, last), (target, target_last) = map(_parse_range, (host_ports, container_ports))
    protocol = (protocol or "tcp").lower()
    # Any port that is free stands for one port.
    is_valid = 0 < target <= target_last < 1 << 16 and last - first == target_last - target
    is_valid = is_valid and (0 < first <= last < 1 << 16 or (host_ports, last) == ("0", 0))
    try:
        address = str(parse_address(host_ip.removeprefix("[").removesuffix("]"))) if host_ip else ""
    except ValueError:
        is_valid = False
    if protocol not in ("tcp", "udp", "sctp") or not is_valid:
        raise CniError(
            INVALID_CONFIG,
            f'"{PREFIX}ports": "{text}" is not a published port',
            "write HOST:CONTAINER, such as 8080:80, 8000-8010:80-90, 0:80 or 127.0.0.1:5353:53/udp",
        )
    port: dict[str, object] = {"hostPort": first, "containerPort": target, "protocol": protocol}
    if last > first:
        port["range"] = last - first + 1
    return port | ({"hostIP": address} if address else {})


def _parse_range(text: str) -> tuple[int, int]:
    """Return the first and the last of some ports; zeros for what is not a number."""
    first, dash, last = text.partition("-")
    return _parse_number(first), _parse_number(last if dash else first)


def _parse_bandwidth(text: str) -> dict[str, int]:
    """Parse `ingress=RATE[:BURST],egress=RATE[:BURST]` into bits per second and bits."""
    limits: dict[str, int] = {}
    for part in split_items(text):
        way, _, amount = part.partition("=")
        rate_text, colon, burst_text = amount.partition(":")
        try:
            rate = parse_bits(rate_text)
            # The reference's plugin wants one.
            burst = parse_bits(burst_text) if colon else min(calc_burst(rate), _MAX_BURST)
        except ValueError:
            rate = burst = 0
        if way not in ("ingress", "egress") or not rate or not burst:
            raise CniError(
                INVALID_CONFIG,
                f'"{PREFIX}bandwidth": "{part}" is not a limit',
                "write ingress=RATE and egress=RATE in bit/s, such as ingress=100M,egress=1G",
            )
        limits |= {f"{way}Rate": rate, f"{way}Burst": burst}
    return limits


def _parse_number(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else 0
