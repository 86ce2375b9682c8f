"""The agent's configuration, a YAML file checked against a schema; every mistake is told with its line.

    networks:
      - name: blue
        endpoints: [https://192.0.2.1:2379, https://192.0.2.2:2379]
        prefix: /coreos.com/network
        iface: eth0
        cafile: /etc/shibafu/etcd-ca.pem
        username: blue
        passwordFile: /etc/shibafu/etcd-password

Nothing but the name and the endpoints is needed.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import TypeVar
from urllib.parse import urlsplit

from yaml.nodes import Node

from shibafu.cni.names import is_valid_identifier
from shibafu.documents.document_files import read_document
from shibafu.documents.link_names import require_iface_name
from shibafu.documents.yaml_nodes import NodeReader, is_null

DIRECTORY = "/run/shibafu/overlay"
DEFAULT_PREFIX = "/coreos.com/network"
# Seconds that etcd keeps a host's subnet for it without hearing from it; flannel's, too.
DAY = 86400

_T = TypeVar("_T")
_SIZE_LIMIT = 1 << 20
_LONGEST_NAME = 63
_SHORTEST_LEASE = 5
_KEYS = (
    "name",
    "endpoints",
    "prefix",
    "iface",
    "publicIP",
    "publicIPv6",
    "subnetFile",
    "leaseSeconds",
    "txChecksum",
    "cafile",
    "certfile",
    "keyfile",
    "username",
    "passwordFile",
)


@dataclass(frozen=True)
class EtcdAccess:
    """Where etcd is, and how to be let in.

    Args:
        endpoints: URLs of its members; the next one is tried where one fails.
        cafile: certificates that its own must be signed by; empty for those of the system.
        certfile: a certificate to show to it; may be empty.
        keyfile: the private key of that.
        username: whom to authenticate as; may be empty.
        password_file: a file with the password.
    """

    endpoints: tuple[str, ...]
    cafile: str = ""
    certfile: str = ""
    keyfile: str = ""
    username: str = ""
    password_file: str = ""


@dataclass(frozen=True)
class OverlaySettings:
    """What a host needs to know to join a network.

    Args:
        name: the network's name on this host.
        etcd: where the network is described.
        prefix: of all its keys there.
        iface: the link to the other hosts; empty for that of the default route.
        public_ip: the address by which other hosts reach this one; None for that of the link.
        public_ip6: likewise for IPv6.
        subnet_file: the file that CNI calls read.
        lease_seconds: how long etcd keeps the subnet without hearing from this host.
        tx_checksum: whether the device leaves checksums to the link below it; None to leave that as it is.
    """

    name: str
    etcd: EtcdAccess
    prefix: str = DEFAULT_PREFIX
    iface: str = ""
    public_ip: IPv4Address | None = None
    public_ip6: IPv6Address | None = None
    subnet_file: str = ""
    lease_seconds: int = DAY
    tx_checksum: bool | None = None


def read_overlay_config(path: str) -> list[OverlaySettings]:
    """Return the networks of a file; see `parse_overlay_config`.

    Raises:
        OSError: it cannot be read.
    """
    return parse_overlay_config(*read_document(path, _SIZE_LIMIT))


def parse_overlay_config(text: str, name: str) -> list[OverlaySettings]:
    """Return the networks that a file declares, in its order.

    Args:
        text: its content.
        name: what mistakes call the file.

    Raises:
        DocumentError: every mistake in it, each on a line with its place.
    """
    reader = _Reader(name)
    return reader.parse(text, reader.read)


def require_overlay_name(name: str) -> str:
    """Return a name that files and keys may have.

    Raises:
        ValueError: it cannot be one.
    """
    if not is_valid_identifier(name) or len(name) > _LONGEST_NAME:
        raise ValueError(
            f'"{name}" is not a valid name for a network: use letters, digits and any of _ . - (at most'
            f" {_LONGEST_NAME}), and begin with a letter or digit"
        )
    return name


def require_endpoint(text: str) -> str:
    """Return the URL of a member of etcd.

    Raises:
        ValueError: it is not one.
    """
    example = "write one such as https://192.0.2.1:2379"
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError(f'endpoint "{text}" is not a URL: {example}') from None
    if parts.scheme not in ("http", "https") or not parts.hostname or not port:
        raise ValueError(f'endpoint "{text}" lacks http or https, the host or the port: {example}')
    if parts.username or parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError(f'endpoint "{text}" has more than a host and a port: {example}')
    return text.rstrip("/")


def require_prefix(text: str) -> str:
    """Return what all keys of a network begin with.

    Raises:
        ValueError: it cannot be that.
    """
    if not re.fullmatch(r"(/[\w.-]+)+", text, re.ASCII):
        raise ValueError(f'prefix "{text}" is not a path such as {DEFAULT_PREFIX}')
    if text.split("/")[1] == "shibafu":
        raise ValueError(
            f'prefix "{text}" begins with /shibafu, which is for keys that flannel does not have'
        )
    return text


def require_file_path(text: str) -> str:
    """Return the absolute path of a file.

    Raises:
        ValueError: it is not one.
    """
    if not text.startswith("/") or text.endswith("/") or "\0" in text or ".." in text.split("/"):
        raise ValueError(f'"{text}" is not a path of a file that begins with /')
    return text


class _Reader(NodeReader):
    """Reads the networks of a node tree."""

    def read(self, roots: list[Node]) -> list[OverlaySettings]:
        section = self.only_section(roots, "networks")
        networks: list[OverlaySettings] = []
        for node in self.sequence(section, '"networks"') if section is not None else ():
            network = self._read_network(node)
            if network.name:
                for other in networks:
                    self._compare(node, network, other)
                networks.append(network)
        return networks

    def _compare(self, node: Node, one: OverlaySettings, other: OverlaySettings) -> None:
        """Refuse what only one network of a host can have."""
        if one.name == other.name:
            self.refuse(node, f'there are two networks named "{one.name}"')
        if one.subnet_file == other.subnet_file:
            self.refuse(node, f"networks {other.name} and {one.name} have the same file {one.subnet_file}")
        if one.prefix == other.prefix and set(one.etcd.endpoints) & set(other.etcd.endpoints):
            self.refuse(node, f"networks {other.name} and {one.name} are the same one of etcd: {one.prefix}")

    def _read_network(self, node: Node) -> OverlaySettings:
        entries = self.mapping(node, _KEYS, "a network")
        for key in ("name", "endpoints"):
            if key not in entries:
                self.refuse(node, f'a network needs the key "{key}"')
        name = self._text(entries, "name", require_overlay_name)
        return OverlaySettings(
            name,
            self._read_access(node, entries),
            self._text(entries, "prefix", require_prefix, DEFAULT_PREFIX),
            self._text(entries, "iface", require_iface_name),
            self._address(entries, "publicIP", IPv4Address),
            self._address(entries, "publicIPv6", IPv6Address),
            self._text(entries, "subnetFile", require_file_path, f"{DIRECTORY}/{name}.env"),
            self._read_lease_seconds(entries.get("leaseSeconds")),
            self.scalar(entries.get("txChecksum"), "txChecksum", bool, None),
        )

    def _read_access(self, node: Node, entries: dict[str, Node]) -> EtcdAccess:
        endpoints = []
        if "endpoints" in entries:
            for item in self.sequence(entries["endpoints"], '"endpoints"'):
                endpoint = self.convert(item, require_endpoint)
                endpoints += [endpoint] if endpoint else []
            if not endpoints and not self.mistakes:
                self.refuse(entries["endpoints"], '"endpoints" is empty')
        names = ("cafile", "certfile", "keyfile", "passwordFile")
        cafile, certfile, keyfile, password_file = (
            self._text(entries, name, require_file_path) for name in names
        )
        username = self._text(entries, "username", str)
        for one, other in (("certfile", "keyfile"), ("username", "passwordFile")):
            for stated, missing in ((one, other), (other, one)):
                if stated in entries and missing not in entries:
                    self.refuse(entries[stated], f'"{stated}" also needs the key "{missing}"')
        if cafile or certfile:
            for endpoint in endpoints:
                if endpoint.startswith("http:"):
                    self.refuse(node, f"certificates have no effect on {endpoint}: write https")
        return EtcdAccess(tuple(endpoints), cafile, certfile, keyfile, username, password_file)

    def _text(
        self, entries: dict[str, Node], key: str, convert: Callable[[str], str], default: str = ""
    ) -> str:
        text = self.scalar(entries.get(key), key, str, "")
        if not text:
            return default
        with self.telling(entries[key]):
            return convert(text)
        return default

    def _address(self, entries: dict[str, Node], key: str, convert: Callable[[str], _T]) -> _T | None:
        node = entries.get(key)
        return None if node is None or is_null(node) else self.convert(node, convert)

    def _read_lease_seconds(self, node: Node | None) -> int:
        seconds: int = self.scalar(node, "leaseSeconds", int, DAY)
        if node is not None and not _SHORTEST_LEASE <= seconds <= 365 * DAY:
            self.refuse(node, f'"leaseSeconds" is a number from {_SHORTEST_LEASE} to {365 * DAY}')
        return seconds
