"""Containers of runc that get their networks from shibafu-hook."""

from collections.abc import Mapping
from pathlib import Path
from time import monotonic, sleep

import pytest

from e2e.bundles import Bundles
from e2e.machine import CNI_PATH, OUTSIDE, Machine
from support.suite import Suite

RANGE = {"subnet": "10.80.0.0/24"}
BLUE: Mapping[str, object] = {
    "type": "shibafu-bridge",
    "bridge": "blue0",
    "isDefaultGateway": True,
    "ipMasq": True,
    "capabilities": {"ips": True, "mac": True},
    "dns": {"nameservers": ["192.0.2.53"], "search": ["blue.test"]},
    "ipam": {"type": "shibafu-ipam", "ranges": [[RANGE], [{"subnet": "fd80::/64"}]]},
}
GREEN: Mapping[str, object] = {
    "type": "shibafu-bridge",
    "bridge": "green0",
    "ipam": {"type": "shibafu-ipam", "ranges": [[{"subnet": "10.81.0.0/24"}]]},
}
PORTMAP: Mapping[str, object] = {"type": "portmap", "capabilities": {"portMappings": True}}
BROKEN: Mapping[str, object] = {"type": "tuning", "sysctl": {"kernel.hostname": "x"}}


@pytest.fixture
def hook(suite: Suite) -> Path:
    return (suite.directory / "shibafu-bridge").resolve().parent / "shibafu-hook"


@pytest.fixture
def bundles(machine: Machine, hook: Path) -> Bundles:
    machine.network_write("blue", BLUE, version="1.1.0")
    machine.network_write("green", GREEN, version="1.1.0")
    return Bundles(machine, hook)


def test_two_containers_reach_each_other_and_the_world(machine: Machine, bundles: Bundles) -> None:
    machine.serve("outside")
    for name in ("web1", "web2"):
        bundles.write(name, network="blue,green")
        bundles.start(name)

    assert bundles.addresses("web1") == {
        "lo": ["127.0.0.1", "::1"],
        "eth0": ["10.80.0.2", "fd80::2"],
        "eth1": ["10.81.0.2"],
    }
    for address in ("10.80.0.3", "fd80::3", "10.81.0.3", "10.80.0.1", "127.0.0.1", OUTSIDE[0]):
        assert "1 packets received" in bundles.run("web1", "ping", "-c1", "-W2", address)
    assert bundles.run("web1", "ping", "-c1", "-W2", "web1")
    for name in ("web1", "web2"):
        bundles.remove(name)


def test_writes_what_names_mean(bundles: Bundles) -> None:
    bundle = bundles.write("web1", network="green,blue")
    (bundle / "hosts").write_text("192.0.2.7\tfriend\n")
    bundles.start("web1")
    assert bundles.run("web1", "cat", "/etc/resolv.conf") == "nameserver 192.0.2.53\nsearch blue.test\n"
    assert bundles.run("web1", "cat", "/etc/hosts").splitlines() == [
        "192.0.2.7\tfriend",
        "10.81.0.2\tweb1\t# shibafu",
        "10.80.0.2\tweb1\t# shibafu",
        "fd80::2\tweb1\t# shibafu",
    ]
    bundles.remove("web1")


def test_annotations_say_what_the_container_gets(machine: Machine, bundles: Bundles) -> None:
    machine.network_write("blue", BLUE, PORTMAP)
    bundles.write("web1", network="blue", ip="10.80.0.77,fd80::77", mac="02:00:5e:00:00:01", ports="8080:80")
    bundles.start("web1")
    assert bundles.addresses("web1")["eth0"] == ["10.80.0.77", "fd80::77"]
    assert "02:00:5e:00:00:01" in bundles.run("web1", "ip", "link", "show", "eth0")
    assert any("--dport 8080" in rule or "--dports 8080" in rule for rule in machine.rules())
    bundles.remove("web1")


def test_flags_are_for_containers_without_annotations(bundles: Bundles) -> None:
    flags = ("--network=green", "--ip", "10.81.0.44", f"--cni-path={CNI_PATH}")
    bundles.write("web1", flags)
    bundles.write("web2", flags, ip="10.81.0.55")
    for name, address in (("web1", "10.81.0.44"), ("web2", "10.81.0.55")):
        bundles.start(name)
        assert bundles.addresses(name)["eth0"] == [address]
        bundles.remove(name)


def test_a_killed_container_is_detached_when_it_is_deleted(machine: Machine, bundles: Bundles) -> None:
    bundles.write("web1", network="blue")
    bundles.start("web1")
    pid = bundles.state("web1")["pid"]
    machine.run("kill", "-9", str(pid))
    deadline = monotonic() + 5
    while bundles.state("web1")["status"] != "stopped":
        assert monotonic() < deadline
        sleep(0.02)
    assert machine.leases()
    machine.run("runc", "delete", "web1")
    assert machine.leases() == []


def test_a_container_that_was_lost_gives_way_to_its_successor(machine: Machine, bundles: Bundles) -> None:
    """As after a crash of the machine's manager: no poststop, and the same ID again."""
    bundles.write("web1", network="blue")
    bundles.start("web1")
    machine.run("kill", "-9", str(bundles.state("web1")["pid"]))
    machine.run("sh", "-c", "sleep 0.2; rm -r /run/runc/web1")
    bundles.start("web1")
    assert len(machine.leases()) == 2
    bundles.remove("web1")


def test_a_container_whose_chain_fails_is_not_created(machine: Machine, bundles: Bundles) -> None:
    machine.network_write("bad", GREEN, BROKEN)
    bundles.write("web1", network="blue,bad")
    done = bundles.try_start("web1")
    assert done.returncode != 0
    sentence = 'shibafu-hook: cannot attach web1 to network "bad": plugin type="tuning" failed (add): '
    assert sentence in done.stdout.replace("\\", "")
    assert machine.leftovers() == []


def test_an_unknown_network_is_told_in_one_sentence(machine: Machine, bundles: Bundles) -> None:
    bundles.write("web1", network="nope")
    done = bundles.try_start("web1")
    assert done.returncode != 0
    assert 'no net configuration with name "nope" in /etc/cni/net.d' in done.stdout.replace("\\", "")
    assert "Traceback" not in done.stdout
