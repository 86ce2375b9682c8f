"""`shibafu policy apply --cut` ends the connections that policies deny, whichever end sends next."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from struct import pack

import pytest

from netns.blue_network import BlueNetwork
from support.command import CommandLine
from support.namespaces import Namespace

# To db everybody may connect.
OPEN = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: db}
spec:
  podSelector: {matchLabels: {app: db}}
  ingress:
  - {}
"""
# Only web may, and to port 80 only.
POLICY = OPEN.replace("- {}", "- {from: [{podSelector: {matchLabels: {app: web}}}], ports: [{port: 80}]}")
# Seconds that a packet is waited for: one that is to come, and one that is not.
_LONG, _SHORT = 5.0, 0.3
_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
families = pytest.mark.parametrize("version", _FAMILIES)


class Connection:
    """A connection of TCP between two namespaces."""

    def __init__(
        self, client: Namespace, server: Namespace, address: str, port: int, stack: ExitStack
    ) -> None:
        self.address, self.port = address, port
        with server.enter():
            self.listener = stack.enter_context(
                socket.create_server((address, port), family=_family(address))
            )
        with client.enter():
            self.client = stack.enter_context(socket.socket(_family(address), socket.SOCK_STREAM))
        self.client.settimeout(_LONG)
        self.client.connect((address, port))
        self.server, _ = self.listener.accept()
        stack.enter_context(self.server)
        self.server.settimeout(_LONG)
        assert self.is_open()

    def is_open(self) -> bool:
        """Return whether both ends receive what the other sends."""
        for sender, receiver in ((self.client, self.server), (self.server, self.client)):
            sender.sendall(b"word")
            if receiver.recv(4) != b"word":
                return False
        return True


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


@pytest.fixture
def policies(shibafu: CommandLine, network: BlueNetwork, tmp_path: Path) -> Iterator[BlueNetwork]:
    """A network whose containers have labels, and of which the host knows what is open."""
    shibafu("network create blue --subnet 10.66.0.0/24 --ipv6")
    shibafu(f"network connect blue {network.web.name} --label app=web")
    shibafu(f"network connect blue {network.db.name} --label app=db")
    shibafu("policy apply -f -", stdin=OPEN)
    yield network
    for path in (tmp_path / "policies").glob("*"):
        path.unlink()
    shibafu("policy apply")


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as made:
        yield made


def find_address(namespace: Namespace, version: int) -> str:
    fields = namespace.run("ip", f"-{version}", "-o", "addr", "show", "eth0", "scope", "global").split()
    return fields[3].partition("/")[0]


def is_refused(sender: socket.socket, receiver: socket.socket) -> bool:
    """Return whether what one end sends resets it, and the other gets nothing."""
    sender.sendall(b"lost")
    with pytest.raises(ConnectionResetError):
        sender.recv(4)
    receiver.settimeout(_SHORT)
    with pytest.raises(TimeoutError):
        receiver.recv(4)
    return True


@families
@pytest.mark.parametrize("first", ["client", "server"])
def test_tcp(shibafu: CommandLine, policies: BlueNetwork, stack: ExitStack, version: int, first: str) -> None:
    web, db = policies.web, policies.db
    address = find_address(db, version)
    allowed, denied = (Connection(web, db, address, port, stack) for port in (80, 5432))
    shibafu("policy apply -f -", stdin=POLICY)
    assert (allowed.is_open(), denied.is_open()) == (True, True)
    source = find_address(web, version)
    assert f"ended {source} to {address}, tcp/5432" in shibafu("policy apply --cut")
    assert allowed.is_open()
    ends = (denied.client, denied.server)
    sender, receiver = ends if first == "client" else ends[::-1]
    assert is_refused(sender, receiver)
    # Nor can the other end begin it again.
    receiver.settimeout(_LONG)
    receiver.sendall(b"lost")
    with pytest.raises(ConnectionResetError):
        receiver.recv(4)
    assert allowed.is_open()
    assert shibafu.json("policy apply --cut")["ended"] == []


@families
def test_udp(shibafu: CommandLine, policies: BlueNetwork, stack: ExitStack, version: int) -> None:
    web, db = policies.web, policies.db
    address = find_address(db, version)
    with db.enter():
        server = stack.enter_context(socket.socket(_FAMILIES[version], socket.SOCK_DGRAM))
    server.bind((address, 53))
    with web.enter():
        client = stack.enter_context(socket.socket(_FAMILIES[version], socket.SOCK_DGRAM))
    for one in (client, server):
        one.settimeout(_LONG)
    client.connect((address, 53))
    client.send(b"ask")
    _, asker = server.recvfrom(9)
    server.sendto(b"answer", asker)
    assert client.recv(9) == b"answer"
    shibafu("policy apply -f - --cut", stdin=POLICY)
    for one in (client, server):
        one.settimeout(_SHORT)
    server.sendto(b"more", asker)
    with pytest.raises(TimeoutError):
        client.recv(9)
    client.send(b"ask")
    with pytest.raises(TimeoutError):
        server.recv(9)


def test_what_is_ended_is_told(shibafu: CommandLine, policies: BlueNetwork, stack: ExitStack) -> None:
    web, db = policies.web, policies.db
    denied = Connection(web, db, find_address(db, 4), 5432, stack)
    with policies.host.enter():
        Connection(policies.host, db, find_address(db, 4), 5433, stack)
    shibafu("policy apply -f -", stdin=POLICY)
    ended = shibafu.json("policy apply --cut")["ended"]
    assert ended == [
        {
            "protocol": "tcp",
            "source": find_address(web, 4),
            "destination": denied.address,
            "port": denied.port,
        }
    ]


def test_the_table_goes_with_the_policies(
    shibafu: CommandLine, policies: BlueNetwork, stack: ExitStack
) -> None:
    Connection(policies.web, policies.db, find_address(policies.db, 4), 5432, stack)
    shibafu("policy apply -f - --cut", stdin=POLICY)
    assert "shibafu_cut" in policies.host.run("nft", "list", "tables")
    shibafu("policy rm default/db")
    assert "shibafu" not in policies.host.run("nft", "list", "tables").replace("shibafu_n", "")


def test_nothing_to_end(shibafu: CommandLine, policies: BlueNetwork) -> None:
    assert "ended" not in shibafu("policy apply -f - --cut", stdin=POLICY)
    assert "shibafu_cut" not in policies.host.run("nft", "list", "tables")
    assert "not allowed with" in shibafu.fail("policy apply --cut --dry-run", status=2)


def test_the_same_ends_may_connect_again_once_they_are_allowed(
    shibafu: CommandLine, policies: BlueNetwork, stack: ExitStack
) -> None:
    """Clients with a port of their own, such as NFS: not a day later."""
    web, db = policies.web, policies.db
    address = find_address(db, 4)
    denied = Connection(web, db, address, 5432, stack)
    port = denied.client.getsockname()[1]
    shibafu("policy apply -f - --cut", stdin=POLICY)
    assert is_refused(denied.server, denied.client)
    denied.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, pack("ii", 1, 0))
    denied.client.close()
    with web.enter():
        again = stack.enter_context(socket.socket())
    again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    again.bind(("", port))
    again.settimeout(_SHORT)
    with pytest.raises(TimeoutError):
        again.connect((address, 5432))
    again.close()
    shibafu("policy apply -f -", stdin=OPEN)
    with web.enter():
        again = stack.enter_context(socket.socket())
    again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    again.bind(("", port))
    again.settimeout(_LONG)
    again.connect((address, 5432))
    accepted, _ = denied.listener.accept()
    with accepted:
        accepted.settimeout(_LONG)
        again.sendall(b"word")
        assert accepted.recv(4) == b"word"
        accepted.sendall(b"word")
        assert again.recv(4) == b"word"
