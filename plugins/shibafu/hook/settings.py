"""What is asked for: annotations of the container's bundle, and flags of the hook as their defaults."""

from shibafu.cni.errors import INVALID_CONFIG, CniError
from shibafu.cni.ip import parse_address, parse_cidr
from shibafu.runtime import cache, conflist

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PREFIX = "org.shibafu."
NO_NETWORK = "none"
_KEYS = ("network", "ip", "mac", "ports", "bandwidth", "resolv-conf", "hosts")
_OF_A_NETWORK = ("ip.", "mac.")
_PLACES = ("conf-dir", "cache-dir", "cni-path", "sticky-dir")

_CNI_PATH = "/opt/cni/bin:/usr/lib/cni"
# Runtimes give hooks no environment, and plugins call iptables.
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_UNITS = {"K": 10**3, "M": 10**6, "G": 10**9}
# In bits; the bandwidth plugins refuse more.
_MAX_BURST = 2**32 - 1


class Flags:
    """The flags of the hook.

    Args:
        values: what they say, by their names without dashes.
    """

    __slots__ = ("values",)

    def __init__(self, values: dict[str, str]) -> None:
        self.values = values

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
        """Where containers' addresses are remembered; empty to remember none."""
        return self.values.get("sticky-dir", "")

    def cni_path(self, env: "Mapping[str, str]") -> str:
        """Return where plugins are."""
        return self.values.get("cni-path") or env.get("CNI_PATH") or _CNI_PATH

    def plugin_env(self, env: "Mapping[str, str]") -> dict[str, str]:
        """Return the plugins' environment."""
        return {"PATH": _PATH} | dict(env)


class Settings:
    """What is asked for.

    Args:
        networks: names; the first is for eth0.
        ips: requested addresses, by network.
        macs: requested hardware addresses, by network.
        ports: the capability portMappings.
        bandwidth: the capability bandwidth.
        resolv_conf: file to write as /etc/resolv.conf; empty to write the one that is mounted there.
        hosts: likewise for /etc/hosts.
    """

    __slots__ = ("bandwidth", "hosts", "ips", "macs", "networks", "ports", "resolv_conf")

    def __init__(
        self,
        networks: list[str],
        ips: dict[str, list[str]],
        macs: dict[str, str],
        ports: list[dict[str, object]],
        bandwidth: dict[str, int],
        resolv_conf: str = "",
        hosts: str = "",
    ) -> None:
        self.networks = networks
        self.ips = ips
        self.macs = macs
        self.ports = ports
        self.bandwidth = bandwidth
        self.resolv_conf = resolv_conf
        self.hosts = hosts


def parse_flags(argv: "Sequence[str]") -> Flags:
    """Parse `--key=value` and `--key value`.

    Raises:
        CniError: a flag is unknown or has no value.
    """
    values = {}
    rest = list(argv)
    while rest:
        flag = rest.pop(0)
        name, equals, value = flag.partition("=")
        key = name.removeprefix("--")
        if not name.startswith("--") or not (key in _PLACES or _is_key(key)):
            raise CniError(INVALID_CONFIG, f'unknown flag "{flag}"', "shibafu-hook --help lists the flags")
        if not equals:
            if not rest:
                raise CniError(INVALID_CONFIG, f"{name} needs a value", f"write {name}=VALUE")
            value = rest.pop(0)
        values[key] = value
    return Flags(values)


def parse_settings(flags: Flags, annotations: "Mapping[str, str]") -> Settings:
    """Parse annotations, and flags for those that are not there.

    Raises:
        CniError: one is unknown or malformed, or there is no network.
    """
    given = {key: value for key, value in flags.values.items() if key not in _PLACES}
    for name, value in annotations.items():
        if name.startswith(PREFIX):
            key = name.removeprefix(PREFIX)
            if not _is_key(key):
                known = ", ".join(PREFIX + known for known in _KEYS)
                raise CniError(INVALID_CONFIG, f'unknown annotation "{name}"', f"known are {known}")
            given[key] = value
    if not _split(given.get("network", "")):
        raise CniError(
            INVALID_CONFIG,
            "no network is named",
            f'add the annotation "{PREFIX}network" to config.json, or --network to the hook\'s args',
        )
    networks = parse_networks(flags, annotations)
    if len(set(networks)) < len(networks):
        raise CniError(INVALID_CONFIG, f'"{PREFIX}network" names a network twice')
    return Settings(
        networks,
        {name: _parse_ips(text) for name, text in _by_network(given, "ip", networks).items()},
        _by_network(given, "mac", networks),
        [_parse_port(text) for text in _split(given.get("ports", ""))],
        _parse_bandwidth(given.get("bandwidth", "")),
        given.get("resolv-conf", ""),
        given.get("hosts", ""),
    )


def parse_networks(flags: Flags, annotations: "Mapping[str, str]") -> list[str]:
    """Parse the networks' names only, which are all that it takes to detach a container."""
    networks = _split(annotations.get(f"{PREFIX}network", flags.values.get("network", "")))
    return [] if networks == [NO_NETWORK] else networks


def _is_key(key: str) -> bool:
    return key in _KEYS or key.startswith(_OF_A_NETWORK)


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _by_network(given: dict[str, str], key: str, networks: list[str]) -> dict[str, str]:
    """Return the values of `key.NETWORK`, and that of `key` for the first network."""
    prefix = f"{key}."
    values = {name.removeprefix(prefix): text for name, text in given.items() if name.startswith(prefix)}
    if key in given and networks:
        values.setdefault(networks[0], given[key])
    strangers = [name for name in values if name not in networks]
    if strangers:
        raise CniError(
            INVALID_CONFIG,
            f'"{PREFIX}{key}.{strangers[0]}" is for a network that the container is not on',
            f'add it to "{PREFIX}network"',
        )
    return {name: text.strip() for name, text in values.items() if text.strip()}


def _parse_ips(text: str) -> list[str]:
    ips = _split(text)
    for ip in ips:
        try:
            parse_cidr(ip) if "/" in ip else parse_address(ip)
        except ValueError as error:
            raise CniError(INVALID_CONFIG, f'"{PREFIX}ip": {error}') from None
    return ips


def _parse_port(text: str) -> dict[str, object]:
    """Parse `[IP:]HOST:CONTAINER[/PROTOCOL]`; an IPv6 address is in brackets."""
    ports, _, protocol = text.partition("/")
    host, _, container_port = ports.rpartition(":")
    host_ip, _, host_port = host.rpartition(":")
    numbers = [_parse_number(number) for number in (host_port, container_port)]
    protocol = (protocol or "tcp").lower()
    try:
        address = str(parse_address(host_ip.removeprefix("[").removesuffix("]"))) if host_ip else ""
    except ValueError:
        numbers = []
    if protocol not in ("tcp", "udp", "sctp") or not numbers or not all(0 < n < 1 << 16 for n in numbers):
        raise CniError(
            INVALID_CONFIG,
            f'"{PREFIX}ports": "{text}" is no published port',
            "write HOST:CONTAINER, such as 8080:80, or 127.0.0.1:5353:53/udp",
        )
    port: dict[str, object] = {"hostPort": numbers[0], "containerPort": numbers[1], "protocol": protocol}
    return port | ({"hostIP": address} if address else {})


def _parse_bandwidth(text: str) -> dict[str, int]:
    """Parse `ingress=RATE[:BURST],egress=RATE[:BURST]` into bits per second and bits."""
    limits: dict[str, int] = {}
    for part in _split(text):
        way, _, amount = part.partition("=")
        rate_text, colon, burst_text = amount.partition(":")
        rate = _parse_bits(rate_text)
        # By default what comes in a second may come at once.
        burst = _parse_bits(burst_text) if colon else min(rate, _MAX_BURST)
        if way not in ("ingress", "egress") or not rate or not burst:
            raise CniError(
                INVALID_CONFIG,
                f'"{PREFIX}bandwidth": "{part}" is no limit',
                "write ingress=RATE and egress=RATE in bit/s, such as ingress=100M,egress=1G",
            )
        limits |= {f"{way}Rate": rate, f"{way}Burst": burst}
    return limits


def _parse_bits(text: str) -> int:
    """Return a number of bits; 0 when it is none."""
    unit = _UNITS.get(text[-1:].upper(), 1)
    digits = text[:-1] if unit > 1 else text
    return _parse_number(digits) * unit


def _parse_number(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else 0
