"""`shibafu ipam`: the store that it mends is the plugins' own, and so is the lock."""

import fcntl
import subprocess
import sys
import time
from io import StringIO
from json import dumps, loads
from pathlib import Path

import pytest

import shibafu
import shibafu_ipam
from shibafu.cli.parser import run
from shibafu.cni.errors import CniError
from shibafu.lean.ip import parse_address
from shibafu.networks.configured import ConfiguredNetwork, load_network
from shibafu.networks.leases import open_pool, release_address, reserve_address
from shibafu_ipam.pool import RESERVED, Pool
from shibafu_ipam.store import Store
from support.ipam import Ipam


class Network:
    """A network in files of its own."""

    def __init__(self, directory: Path) -> None:
        self.conf_dir = directory / "net.d"
        self.ipam = Ipam(directory / "networks", {"subnet": "10.1.0.0/29"})
        self.conf_dir.mkdir()
        plugin = self.ipam.document() | {"bridge": "br9"}
        conflist = {"cniVersion": "1.1.0", "name": "net", "plugins": [plugin]}
        (self.conf_dir / "net.conflist").write_text(dumps(conflist))

    @property
    def configured(self) -> ConfiguredNetwork:
        return load_network(str(self.conf_dir), "net")

    def add_and_vanish(self, container: str) -> None:
        """Give an address to a container that ends without giving it back."""
        with subprocess.Popen(["sleep", "60"]) as process:
            self.ipam.add(container, netns=f"/proc/{process.pid}/ns/net")
            process.kill()

    def run(self, *argv: str) -> tuple[int, str, str]:
        out, err = StringIO(), StringIO()
        status = run([*argv, "--conf-dir", str(self.conf_dir)], out, err)
        return status, out.getvalue(), err.getvalue()


@pytest.fixture
def network(tmp_path: Path) -> Network:
    return Network(tmp_path)


def test_leases_are_listed_with_their_owners(network: Network) -> None:
    network.ipam.add("c1")
    network.add_and_vanish("c2")
    network.run("ipam", "reserve", "net", "10.1.0.5", "--label", "printer")
    status, out, _ = network.run("ipam", "ls", "net", "--format", "json")
    assert status == 0
    shown = [
        (lease["address"], lease["containerID"], lease["abandoned"], lease["reserved"])
        for lease in loads(out)
    ]
    assert shown == [
        ("10.1.0.2", "c1", False, False),
        ("10.1.0.3", "c2", True, False),
        ("10.1.0.5", RESERVED, False, True),
    ]
    rows = [line.split() for line in network.run("ipam", "ls")[1].splitlines()[1:]]
    assert rows[2] == ["net", "10.1.0.5", "-", "printer", "reserved"]


def test_a_reserved_address_is_never_given_out(network: Network) -> None:
    for address in ("10.1.0.3", "10.1.0.4"):
        assert network.run("ipam", "reserve", "net", address)[0] == 0
    given = [network.ipam.add(f"c{n}")[0] for n in range(3)]
    assert given == ["10.1.0.2", "10.1.0.5", "10.1.0.6"]
    assert network.ipam.fail("ADD", "c9")[1].startswith("failed to allocate for range 0")
    network.ipam.check_index()
    assert "already reserved" in network.run("ipam", "reserve", "net", "10.1.0.3")[1]
    assert "10.1.0.3 is free" in network.run("ipam", "release", "net", "10.1.0.3")[1]
    assert network.ipam.add("c9") == ["10.1.0.3"]
    network.ipam.check_index()


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("10.9.0.1", "does not give out"),
        ("10.1.0.1", "is the gateway"),
        ("10.1.0.2", "belongs to container c1"),
    ],
)
def test_reservations_that_make_no_sense(network: Network, address: str, said: str) -> None:
    network.ipam.add("c1")
    status, _, err = network.run("ipam", "reserve", "net", address)
    assert status == 1
    assert said in err


def test_a_lease_in_use_is_released_by_force_only(network: Network) -> None:
    network.ipam.add("c1")
    network.add_and_vanish("c2")
    assert "may still be using it" in network.run("ipam", "release", "net", "10.1.0.2")[2]
    assert network.run("ipam", "release", "net", "10.1.0.3")[0] == 0
    assert network.run("ipam", "release", "net", "--container", "c1", "--force")[0] == 0
    assert network.run("ipam", "release", "net", "10.1.0.2")[1] == "nothing to do: already free\n"
    assert network.run("ipam", "release", "net")[0] == 2
    assert network.ipam.leases() == {}
    network.ipam.check_index()


def test_the_index_is_valid_after_the_command(network: Network) -> None:
    network.ipam.add("c1")
    reserve_address(network.configured, parse_address("10.1.0.6"), "x")
    assert network.ipam.is_index_valid()
    release_address(network.configured, parse_address("10.1.0.6"), False)
    assert network.ipam.is_index_valid()
    network.ipam.check_index()


# The lock


def start_add(network: Network) -> subprocess.Popen[bytes]:
    """Begin an ADD in another process."""
    roots = [str(Path(package.__path__[0]).parent) for package in (shibafu, shibafu_ipam)]
    env = {
        "PYTHONPATH": ":".join(roots),
        "CNI_COMMAND": "ADD",
        "CNI_CONTAINERID": "other",
        "CNI_IFNAME": "eth0",
        "CNI_NETNS": "/proc/self/ns/net",
        "CNI_PATH": "/opt/cni/bin",
    }
    command = [sys.executable, "-m", "shibafu_ipam"]
    process = subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(dumps(network.ipam.document()).encode())
    process.stdin.close()
    process.stdin = None
    return process


def test_the_command_keeps_the_plugin_out(network: Network) -> None:
    network.ipam.add("c1")
    with open_pool(network.configured):
        process = start_add(network)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1)
        assert "10.1.0.3" not in network.ipam.leases()
    assert process.wait(30) == 0
    assert network.ipam.leases()["10.1.0.3"] == "other/eth0"
    process.communicate()


def test_the_plugin_keeps_the_command_out(network: Network) -> None:
    network.ipam.add("c1")
    pool = Pool(str(network.ipam.data_dir), "net", patience=0.2)
    with Store(str(network.ipam.data_dir), "net") as store:
        assert store.lock_existing()
        started = time.monotonic()
        with pytest.raises(CniError, match="have been locked"), pool:
            pass
        assert time.monotonic() - started >= 0.2
    with pool:
        assert pool.take(parse_address("10.1.0.5"), "c2", "eth0")
    network.ipam.check_index()


def test_the_lock_is_flock_on_the_same_file(network: Network) -> None:
    network.ipam.add("c1")
    path = network.ipam.directory / "lock"
    inode = path.stat().st_ino
    with open_pool(network.configured), path.open("rb") as lock, pytest.raises(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with path.open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert path.stat().st_ino == inode
