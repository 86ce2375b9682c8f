"""Calls of shibafu-portmap behind shibafu-bridge, and whether what it publishes is reached."""

import socket
import subprocess
import threading
from json import dumps, loads
from pathlib import Path
from typing import Any

from support.machine import Config, Machine
from support.namespaces import Namespace
from support.traffic import open_socket

TCP, UDP = socket.SOCK_STREAM, socket.SOCK_DGRAM
_KINDS = {"tcp": TCP, "udp": UDP}


class Publisher:
    """The plugin of a machine, or another of that role.

    Args:
        machine: the machine.
        backend: what the configurations name.
        plugin: the executable; by default ours.
    """

    def __init__(self, machine: Machine, backend: str, plugin: Path | None = None) -> None:
        self.machine = machine
        self.backend = backend
        self.plugin = plugin or machine.suite.directory / "shibafu-portmap"

    def call(
        self,
        command: str,
        *mappings: Config,
        previous: Config | None = None,
        container: str = "c1",
        status: int = 0,
        network: str = "net",
        ifname: str = "eth0",
        netns: str | None = None,
        **keys: Any,
    ) -> Any:
        """Make a call; return what it answered, None when that is nothing."""
        document: Config = {"cniVersion": "1.1.0", "name": network, "type": "portmap"}
        document |= {"backend": self.backend, "capabilities": {"portMappings": True}}
        document |= {"runtimeConfig": {"portMappings": list(mappings)}} if mappings else {}
        document |= {"prevResult": previous} if previous is not None else {}
        document = {key: value for key, value in (document | keys).items() if value is not None}
        env = {
            "CNI_COMMAND": command,
            "CNI_PATH": str(self.plugin.parent),
            "PATH": self.machine.path,
        }
        if command in ("ADD", "CHECK", "DEL"):
            env |= {"CNI_CONTAINERID": container, "CNI_IFNAME": ifname}
            env["CNI_NETNS"] = self.machine.container(container).path if netns is None else netns
        done = subprocess.run(
            ["nsenter", f"--net={self.machine.host.path}", *self.machine.prefix, str(self.plugin)],
            env=env,
            input=dumps(document).encode(),
            capture_output=True,
            check=False,
            timeout=60,
        )
        assert (done.returncode, done.stderr) == (status, b""), (done.stdout, done.stderr)
        return loads(done.stdout) if done.stdout else None

    def collect(self, *valid: tuple[str, str]) -> None:
        """GC with a list of valid attachments."""
        listed = [{"containerID": container, "ifname": ifname} for container, ifname in valid]
        keys: Config = {"cni.dev/valid-attachments": listed}
        assert self.call("GC", **keys) is None


def publish(host_port: int, port: int, protocol: str = "tcp", **keys: Any) -> Config:
    """Return an entry of `portMappings`."""
    return {"hostPort": host_port, "containerPort": port, "protocol": protocol} | keys


def reaches(
    server: Namespace,
    at: tuple[str, int],
    client: Namespace,
    to: tuple[str, int],
    protocol: str = "tcp",
    patience: float = 3,
) -> str:
    """Return the source that a server sees of a client whose packets get to it, and back; else nothing.

    Args:
        server: where the server is.
        at: what it is bound to.
        client: who calls.
        to: the address and port that are called.
        protocol: tcp or udp.
        patience: seconds to wait; fewer where nothing is expected.
    """
    kind = _KINDS[protocol]
    version, called = (6 if ":" in address else 4 for address, _ in (at, to))
    with (
        open_socket(server, version, kind, patience) as listener,
        open_socket(client, called, kind, patience) as talker,
    ):
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(at)
        sources: list[str] = []
        thread = threading.Thread(target=_serve, args=(listener, kind, sources))
        if kind == TCP:
            listener.listen()
        thread.start()
        try:
            if kind == TCP:
                talker.connect(to)
            else:
                talker.sendto(b"ping", to)
            answer, *_ = talker.recvfrom(4)
        except OSError:
            answer = b""
        thread.join()
        return sources[0] if sources and answer == b"pong" else ""


def _serve(listener: socket.socket, kind: socket.SocketKind, sources: list[str]) -> None:
    try:
        if kind == TCP:
            accepted, source = listener.accept()
            with accepted:
                accepted.sendall(b"pong")
        else:
            _, source = listener.recvfrom(16)
            listener.sendto(b"pong", source)
        sources.append(source[0])
    except OSError:
        pass  # nobody has come
