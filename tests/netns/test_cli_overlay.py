"""What the command shows of a host's part of an overlay network, and mends."""

from collections.abc import Iterator
from json import dumps, loads
from pathlib import Path

import pytest

from netns.overlay_pair import NETWORKS, PairedHost
from netns.watched import Watched
from support.command import CommandLine
from support.namespaces import Namespace
from support.suite import Suite
from support.traffic import can_reach
from support.waiting import wait_for

SUBNETS = ["10.42.1.0/24", "fd42:0:0:1::/64"]


@pytest.fixture
def shibafu(suite: Suite, node: PairedHost, tmp_path: Path) -> Iterator[CommandLine]:
    """The command on a host with the overlay network blue, and a published port."""
    with CommandLine(suite, node.host, tmp_path) as made:
        plugin = node.overlay({"bridge": "br-blue"}, cniVersion=None, name=None)
        plugin |= {
            "ipam": {},
            "dataDir": str(made.store / "flannel"),
            "capabilities": {"mac": True, "ips": True},
        }
        config = {"cniVersion": "1.0.0", "name": "blue", "plugins": [plugin]}
        (made.conf_dir / "blue.conflist").write_text(dumps(config))
        yield made


@pytest.fixture
def containers() -> Iterator[list[Namespace]]:
    made = [Namespace("web"), Namespace("db")]
    yield made
    for container in made:
        container.delete()


def test_ls_and_inspect_show_the_host_s_part(
    shibafu: CommandLine, node: PairedHost, peer: PairedHost
) -> None:
    (shown,) = shibafu.json("network inspect blue")
    assert shown["overlay"] == {
        "subnetFile": str(node.subnet_file),
        "networks": NETWORKS,
        "subnets": SUBNETS,
        "mtu": 1450,
        "ipMasq": False,
        "peers": [
            {"subnet": "10.42.2.0/24", "link": "flannel.1"},
            {"subnet": "fd42:0:0:2::/64", "link": "flannel.1"},
        ],
    }
    assert [use["subnet"] for use in shown["subnets"]] == SUBNETS
    assert "10.42.2.0/24 by flannel.1" in shibafu("network inspect blue")
    assert f"{', '.join(SUBNETS)} of {', '.join(NETWORKS)}" in shibafu("network ls")


def test_without_a_subnet_file_it_is_said(shibafu: CommandLine, node: PairedHost) -> None:
    node.subnet_file.unlink()
    said = f"failed to load flannel 'subnet.env' file: open {node.subnet_file}: no such file or directory"
    assert said in shibafu.run("network", "ls", status=1)[1]
    assert said in shibafu.run("network", "check", "blue", status=1)[0]
    start = "start it (shibafu overlay run, or flanneld)"
    for words, status in (("ls", 1), ("check blue", 1), ("inspect blue", 0), ("repair blue", 1)):
        assert start in "".join(shibafu.run("network", *words.split(), status=status))
    (shown,) = shibafu.json("network inspect blue")
    assert (shown["problem"], shown["overlay"]) == (said, None)


def test_containers_are_checked_and_mended(
    shibafu: CommandLine, node: PairedHost, containers: list[Namespace]
) -> None:
    web, db = containers
    shibafu(f"network connect blue {web.name} --ip 10.42.1.77 --mac 02:42:0a:00:00:05")
    shibafu(f"network connect blue {db.name}")
    shibafu("network check blue")
    assert shibafu.json("network repair --dry-run")["faults"] == []
    assert can_reach(web, "10.42.1.77", db)
    node.host.run("ip", "link", "del", "br-blue")
    node.host.run("iptables", "-t", "nat", "-F")
    assert not can_reach(web, "10.42.1.77", db)
    shibafu.run("network", "check", "blue", status=1)
    faults = [fault["what"] for fault in shibafu.json("network repair")["faults"]]
    assert faults[0] == "bridge br-blue is missing"
    assert can_reach(web, "10.42.1.77", db)
    # A link that is gone takes another ADD, by which the container gets what it had.
    web.run("ip", "link", "del", "eth0")
    shibafu("network repair")
    assert "02:42:0a:00:00:05" in web.run("ip", "link", "show", "eth0")
    assert can_reach(web, "10.42.1.77", db)
    shibafu("network check blue")
    for container in containers:
        shibafu(f"network disconnect blue {container.name}")
    assert list((shibafu.store / "flannel").iterdir()) == []
    assert "SHIBAFU" not in node.host.run("iptables-save")


@pytest.mark.long
def test_a_table_of_nftables_is_made_again(
    shibafu: CommandLine, node: PairedHost, containers: list[Namespace]
) -> None:
    """By the watcher at once; without it, the command says what is missing."""
    path = shibafu.conf_dir / "blue.conflist"
    config = loads(path.read_text())
    config["plugins"][0]["delegate"]["ipMasqBackend"] = "nftables"
    path.write_text(dumps(config))
    web, _ = containers
    shibafu(f"network connect blue {web.name} --ip 10.42.1.77")
    (table,) = node.host.run("nft", "list", "tables").splitlines()
    rules = node.host.run("nft", "list", "ruleset")
    node.host.run("nft", "delete", *table.split())
    assert f"{table} is missing" in shibafu.run("network", "check", "blue", status=1)[0]
    with Watched(shibafu) as watcher:
        wait_for(lambda: node.host.run("nft", "list", "ruleset") == rules)
        node.host.run("nft", "delete", *table.split())
        wait_for(lambda: node.host.run("nft", "list", "ruleset") == rules)
        wait_for(lambda: len(watcher.lines) == 2)
        assert all("network blue: healed the firewall's rules" in line for line in watcher.lines)
    shibafu("network check blue")
    shibafu(f"network disconnect blue {web.name}")
    assert node.host.run("nft", "list", "tables") == ""
