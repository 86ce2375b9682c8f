"""The options of a container, as they are kept for its next start."""

import json
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from shibafu.cni.errors import CniError
from shibafu.cni.names import is_valid_identifier
from shibafu.container.errors import ContainerError
from shibafu.hook.allowed_values import PREFIX
from shibafu.hook.settings import Flags, parse_settings
from shibafu.lean.files import read_file, write_file

NO_NETWORK = "none"
HOST_NETWORK = "host"
_MAX_HOSTNAME = 63
_HOSTNAME_HINT = (
    f"use up to {_MAX_HOSTNAME} letters, digits and any of _ . - and begin with a letter or digit"
)
# What shibafu-hook's messages call an annotation, and the options of `shibafu run` that have other names.
_ANNOTATION = re.compile(rf'"{re.escape(PREFIX)}([a-z]+)"')
_OPTIONS = {"ports": "publish"}
_MAX_FILE = 1 << 24


@dataclass(frozen=True)
class Volume:
    """A directory or file of the host inside the container.

    Args:
        source: the path on the host, absolute.
        destination: the path in the container, absolute.
        is_read_only: whether the container may only read.
    """

    source: str
    destination: str
    is_read_only: bool = False


@dataclass(frozen=True)
class Specification:
    """A container.

    Args:
        name: its name, which is its ID for the OCI runtime and for networks.
        image: what its image was called by.
        rootfs: the directory of its root file system, which stays as it is.
        argv: its program.
        env: the program's environment, `NAME=VALUE`.
        workdir: the program's working directory.
        uid: the program's user.
        gid: the program's group.
        networks: the networks that it is on, or NO_NETWORK, or HOST_NETWORK, alone.
        ip: addresses in the first network, separated by commas; empty for any.
        mac: the hardware address in the first network; empty for any.
        ports: published ports, as annotations of shibafu-hook have them.
        bandwidth: limits, likewise.
        namespace: its namespace for network policies; empty for the default one.
        labels: its labels for them.
        named_ports: names of its ports for them, `NAME=PORT/PROTOCOL`.
        volumes: what it sees of the host.
        hostname: what it calls itself.
        is_removed: whether it is removed at its end.
        is_named: whether somebody chose its name, so that its addresses are worth remembering.
        has_terminal: whether its program talks to a terminal.
        added: capabilities that it has besides the default ones, or ALL.
        dropped: default capabilities that it lacks, or ALL.
        seccomp: its profile of system calls, as `load_seccomp` takes it.
        has_no_new_privileges: whether nothing that it executes gives it more rights, such as setuid.
        limits: soft and hard limits of resources besides the default ones, as `parse_limits` returns them.
    """

    name: str
    image: str
    rootfs: str
    argv: list[str]
    env: list[str] = field(default_factory=list)
    workdir: str = "/"
    uid: int = 0
    gid: int = 0
    networks: list[str] = field(default_factory=list)
    ip: str = ""
    mac: str = ""
    ports: list[str] = field(default_factory=list)
    bandwidth: str = ""
    namespace: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    named_ports: list[str] = field(default_factory=list)
    volumes: list[Volume] = field(default_factory=list)
    hostname: str = ""
    is_removed: bool = False
    is_named: bool = True
    has_terminal: bool = False
    added: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    seccomp: str = ""
    has_no_new_privileges: bool = False
    limits: dict[str, list[int]] = field(default_factory=dict)

    @property
    def is_on_host_network(self) -> bool:
        """Whether it has no network namespace of its own."""
        return self.networks == [HOST_NETWORK]

    def calc_annotations(self) -> dict[str, str]:
        """Return what its bundle asks of shibafu-hook."""
        if self.is_on_host_network:
            return {}
        asked = {
            "network": ",".join(self.networks),
            "ip": self.ip,
            "mac": self.mac,
            "ports": ",".join(self.ports),
            "bandwidth": self.bandwidth,
            "namespace": self.namespace,
            "named-ports": ",".join(self.named_ports),
        }
        labels = {f"labels.{key}": value for key, value in self.labels.items()}
        stated = {key: value for key, value in asked.items() if value} | labels
        return {f"{PREFIX}{key}": value for key, value in stated.items()}

    def validate(self) -> None:
        """Refuse what no container can be, in shibafu-hook's words where the network is concerned.

        Raises:
            ContainerError: why.
        """
        require_name(self.name)
        for name in self.networks:
            if not is_valid_identifier(name):
                raise ContainerError(f'"{name}" is not a valid name for a network', "see: shibafu network ls")
        special = [name for name in self.networks if name in (NO_NETWORK, HOST_NETWORK)]
        if special and len(self.networks) > 1:
            raise ContainerError(f'network "{special[0]}" cannot be combined with other networks')
        if special and (self.ip or self.mac or self.ports or self.bandwidth):
            raise ContainerError(
                f'addresses, ports and limits need a network, and the container is on "{special[0]}"',
                "choose a network: --network bridge",
            )
        if not _is_hostname(self.hostname):
            raise ContainerError(f'"{self.hostname}" is not a valid host name', _HOSTNAME_HINT)
        if not self.is_on_host_network:
            try:
                parse_settings(Flags({}), self.calc_annotations())
            except CniError as error:
                raise ContainerError(_name_options(error.msg), _name_options(error.details)) from None

    def save(self, path: Path) -> None:
        """Write it as JSON."""
        write_file(str(path), f"{json.dumps(asdict(self), indent=4)}\n".encode())


def _name_options(text: str) -> str:
    """Return a message of shibafu-hook's with the options that stand for annotations."""
    return _ANNOTATION.sub(lambda found: f"--{_OPTIONS.get(found[1], found[1])}", text)


def load_specification(path: Path) -> Specification:
    """Read a container's specification.

    Raises:
        ContainerError: it is damaged.
    """
    try:
        document: dict[str, Any] = json.loads(read_file(str(path), _MAX_FILE) or b"")
        document["volumes"] = [Volume(**volume) for volume in document["volumes"]]
        return Specification(**document)
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ContainerError(
            f"container {path.parent.name} is damaged: {error}",
            f"remove it: shibafu rm --force {path.parent.name}",
        ) from None


def require_name(name: str) -> None:
    """Refuse what cannot be a container's name.

    Raises:
        ContainerError: why.
    """
    if not _is_hostname(name):
        raise ContainerError(f'"{name}" is not a valid name for a container', _HOSTNAME_HINT)


def _is_hostname(name: str) -> bool:
    return is_valid_identifier(name) and len(name) <= _MAX_HOSTNAME
