"""What the command makes of records: unfinished, torn, or of a namespace that is gone."""

import shutil
from json import dumps, loads
from pathlib import Path

import pytest

from netns.replacement import Replacement
from shibafu.cni.names import calc_host_veth
from support.command import CommandLine
from support.namespaces import Namespace
from support.traffic import arrives, can_reach
from support.waiting import wait_for

pytestmark = pytest.mark.usefixtures("blue")


def connect(shibafu: CommandLine, web: Namespace) -> Path:
    """Put a container on a network, which no runtime's cache tells of; return its record."""
    shibafu(f"network connect blue {web.name}")
    for path in shibafu.cache_dir.iterdir():
        path.unlink()
    (record,) = shibafu.records.glob("blue/veth*")
    return record


def change(record: Path, **keys: object) -> None:
    record.write_text(dumps(loads(record.read_text()) | keys))


@pytest.mark.parametrize(
    ("phase", "said"),
    [("claimed", "attached"), ("addressed", "attached"), ("leaving", "detached")],
)
def test_what_a_killed_call_was_at_is_named_and_not_mended(
    shibafu: CommandLine, host: Namespace, web: Namespace, phase: str, said: str
) -> None:
    record = connect(shibafu, web)
    change(record, phase=phase)
    host.run("ip", "link", "set", record.name, "down")
    (endpoint,) = shibafu.json("network inspect blue")[0]["endpoints"]
    assert endpoint["state"] == f"being {said}"
    (fault,) = shibafu.json("network repair --dry-run", status=1)["faults"]
    assert fault["what"] == f"interface eth0 is only partly {said}"
    assert "disconnect the container" in fault["advice"]
    shibafu.run("network", "repair", status=1)
    (link,) = loads(host.run("ip", "-j", "link", "show", record.name))
    assert "UP" not in link["flags"]
    shibafu(f"network disconnect blue {web.name}")
    assert shibafu("network repair --dry-run") == "nothing to repair\n"
    shibafu(f"network connect blue {web.name}")
    assert can_reach(host, "10.66.0.1", web)


@pytest.mark.parametrize("ips", [["nonsense"], "10.66.0.2/24", [7], None])
def test_addresses_that_are_none(shibafu: CommandLine, host: Namespace, web: Namespace, ips: object) -> None:
    change(connect(shibafu, web), ips=ips, result=None)
    host.run("ip", "link", "set", "br-blue", "down")
    assert "bridge br-blue is down" in shibafu("network repair")
    shibafu("network inspect blue")
    assert can_reach(host, "10.66.0.1", web)


def test_gc_leaves_a_link_alone_whose_record_is_torn(
    shibafu: CommandLine, host: Namespace, web: Namespace
) -> None:
    """Without addresses there is no lease either that would tell whose it is."""
    plugin = {"type": "bridge", "bridge": "br-blue"}
    (path,) = shibafu.conf_dir.iterdir()
    path.write_text(dumps({"cniVersion": "1.1.0", "name": "blue", "plugins": [plugin]}))
    record = connect(shibafu, web)
    record.write_text('{"cont')
    _, said = shibafu.run("network", "gc", status=1)
    assert f"{record} names no container" in said
    assert "eth0" in web.run("ip", "-br", "link")
    host.run("ip", "link", "del", record.name)
    shibafu.run("network", "gc")
    assert not record.exists()


def test_a_namespace_that_was_replaced_is_known_by_the_record(
    replacement: Replacement, shibafu: CommandLine, web: Namespace
) -> None:
    connect(shibafu, web)
    replacement.replace(web, shibafu.store, shibafu.records)
    (endpoint,) = shibafu.json("network inspect blue")[0]["endpoints"]
    assert endpoint["state"] == "namespace gone"
    assert web.name in shibafu("network gc")
    assert shibafu.json("network inspect blue")[0]["endpoints"] == []


@pytest.fixture
def lost(shibafu: CommandLine, web: Namespace) -> Namespace:
    """A container of which there is no record."""
    shibafu(f"network connect blue {web.name}")
    shutil.rmtree(shibafu.records)
    return web


def test_rules_are_mended_for_a_container_whose_record_was_lost(
    shibafu: CommandLine, host: Namespace, lost: Namespace
) -> None:
    """Its result is kept, and the name of its link tells that shibafu made it."""
    host.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
    with Namespace("outside") as outside:
        host.run("ip", "link", "add", "uplink", "type", "veth", "peer", "uplink", "netns", outside.name)
        for end, address in ((host, "203.0.113.1/24"), (outside, "203.0.113.2/24")):
            end.run("ip", "addr", "add", address, "dev", "uplink")
            end.run("ip", "link", "set", "uplink", "up")
        wait_for(lambda: can_reach(outside, "203.0.113.2", host))
        host.run("iptables", "-t", "nat", "-F")
        host.run("iptables", "-t", "nat", "-X")
        assert arrives(outside, "203.0.113.2", lost) == "10.66.0.2"
        assert "firewall rules of network blue are missing" in shibafu.run("network", "check", status=1)[0]
        (fault,) = shibafu.json("network repair")["faults"]
        assert (fault["what"], fault["repaired"]) == ("firewall rules of network blue are missing", True)
        assert arrives(outside, "203.0.113.2", lost) == "203.0.113.1"
        assert shibafu("network repair --dry-run") == "nothing to repair\n"
        shibafu("network check")


@pytest.mark.parametrize("has_leases", [True, False])
def test_a_network_with_a_container_of_which_nothing_tells_is_not_removed(
    shibafu: CommandLine, host: Namespace, lost: Namespace, has_leases: bool
) -> None:
    shutil.rmtree(shibafu.cache_dir)
    if not has_leases:
        shutil.rmtree(shibafu.store / "networks")
    port = calc_host_veth("blue", lost.name, "eth0")
    assert f"the bridge of network blue has 1 port of containers without a record: {port}" in (
        shibafu.fail("network rm blue")
    )
    assert can_reach(host, "10.66.0.1", lost)
    assert "blue" in shibafu("network ls")
    shibafu("network rm blue --force")
    assert "br-blue" not in host.run("ip", "link") + host.run("iptables-save")
    assert port not in host.run("ip", "link")
    assert not list(shibafu.store.glob("networks/blue"))
