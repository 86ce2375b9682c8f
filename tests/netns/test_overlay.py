"""shibafu-overlay on two hosts: packets between their containers, and what each verb does and leaves."""

import os
from json import dumps, loads
from pathlib import Path

import pytest

from netns.overlay_pair import MTU, PairedHost
from netns.policy_machine import DB_FROM_WEB, apply, labelled
from shibafu.networks.policy_control import enforce_policies
from shibafu.networks.policy_networks import open_policies
from support.machine import Config
from support.published import Publisher, publish, reaches
from support.traffic import OUTSIDE, UPLINK, Outside, arrives, can_reach

pytestmark = pytest.mark.root

REFERENCE = Path("/usr/lib/cni")
MISSING = "failed to load flannel 'subnet.env' file: open {}: no such file or directory"


@pytest.mark.parametrize("backend", ["iptables", "nftables"])
def test_containers_of_two_hosts_see_each_other_s_own_addresses(
    node: PairedHost, peer: PairedHost, backend: str
) -> None:
    outside = Outside(node.host)
    try:
        config = node.overlay({"ipMasqBackend": backend})
        for one in (node, peer):
            if backend == "iptables":
                one.iptables("-P FORWARD DROP")
                one.iptables("-P FORWARD DROP", family="ip6tables")
            one.add(one.overlay({"ipMasqBackend": backend}))
            assert one.links(one.container())["eth0"]["mtu"] == MTU
            one.check(one.overlay({"ipMasqBackend": backend}))
        ways = ((node, peer), (peer, node))
        for version in (4, 6):
            for client, server in ways:
                address = server.address_of(config, version)
                seen = arrives(server.container(), address, client.container())
                assert seen == client.address_of(config, version)
            # Elsewhere they are the host.
            seen = arrives(outside.namespace, OUTSIDE[version], node.container())
            assert seen == UPLINK[version]
    finally:
        outside.close()


def test_an_agent_that_masquerades_does_it_alone(node: PairedHost) -> None:
    outside = Outside(node.host)
    try:
        node.write_subnet_file(ip_masq=True)
        config = node.overlay()
        node.add(config)
        address = node.address_of(config, 4)
        outside.namespace.run("ip", "route", "add", "10.42.0.0/16", "via", UPLINK[4])
        assert arrives(outside.namespace, OUTSIDE[4], node.container()) == address
        assert node.rules() == []
    finally:
        outside.close()


def test_a_published_port_is_reached_from_the_other_host(node: PairedHost, peer: PairedHost) -> None:
    config = node.overlay()
    result = node.add(config)
    peer.add(peer.overlay())
    Publisher(node, "").call("ADD", publish(8080, 80), previous=result)
    at, to = (node.address_of(config, 4), 80), (node.address, 8080)
    assert reaches(node.container(), at, peer.container(), to) == peer.address


def test_what_is_sent_is_flannel_s_and_kept(node: PairedHost) -> None:
    config = node.overlay(
        type="flannel",
        delegate={"bridge": "br0", "hairpinMode": True},
        ipam={"dataDir": str(node.data_dir), "routes": [{"dst": "10.9.0.0/16"}]},
        runtimeConfig={"mac": "02:42:0a:00:00:05"},
    )
    node.write_subnet_file(ip_masq=True)
    node.add(config)
    path = node.sent_dir / "c1-eth0"
    assert path.stat().st_mode & 0o777 == 0o600
    assert loads(path.read_text()) == {
        "name": "net",
        "cniVersion": "1.1.0",
        "type": "bridge",
        "bridge": "br0",
        "hairpinMode": True,
        "isDefaultGateway": True,
        "ipMasq": False,
        "mtu": MTU,
        "isGateway": True,
        "runtimeConfig": {"mac": "02:42:0a:00:00:05"},
        "ipam": {
            "type": "host-local",
            "dataDir": str(node.data_dir),
            "ranges": [[{"subnet": "10.42.1.0/24"}], [{"subnet": "fd42:0:0:1::/64"}]],
            "routes": [{"dst": "10.9.0.0/16"}, {"dst": "10.42.0.0/16"}, {"dst": "fd42::/48"}],
        },
    }
    assert node.links(node.container())["eth0"]["address"] == "02:42:0a:00:00:05"


@pytest.mark.parametrize("lost", ["nothing", "subnet file", "what was sent", "both", "namespace"])
def test_del_leaves_nothing_whatever_is_lost(node: PairedHost, lost: str) -> None:
    config = node.overlay()
    before = node.snapshot()
    node.add(config)
    if lost in ("subnet file", "both"):
        node.subnet_file.unlink()
    if lost in ("what was sent", "both"):
        (node.sent_dir / "c1-eth0").unlink()
    env = {"CNI_NETNS": ""} if lost == "namespace" else {}
    for _ in range(2):
        node.delete(config, **env)
        assert node.sent() == []
    assert_same_but_bridge(before, node.snapshot())


def assert_same_but_bridge(before: Config, after: Config) -> None:
    after["links"].pop("br0", None)
    after["routes"] = [route for route in after["routes"] if route["dev"] != "br0"]
    assert after == before


def test_del_of_what_flannel_s_plugin_has_sent(node: PairedHost) -> None:
    config = node.overlay(type="flannel")
    node.add(config)
    (node.sent_dir / "c1-eth0").rename(node.sent_dir / "c1")
    node.check(config)
    # One of another network is not taken for it.
    node.delete(config | {"name": "other"})
    assert node.sent() == ["c1"]
    node.delete(config)
    assert (node.sent(), node.leases()) == ([], set())


def test_two_interfaces_of_a_container_do_not_meet(node: PairedHost) -> None:
    config = node.overlay()
    node.add(config)
    node.add(config, ifname="eth1")
    assert node.sent() == ["c1-eth0", "c1-eth1"]
    for ifname in ("eth0", "eth1"):
        node.check(config, ifname=ifname)
    node.delete(config)
    node.check(config, ifname="eth1")
    node.delete(config, ifname="eth1")
    assert (node.sent(), node.leases()) == ([], set())


def test_check_is_the_delegate_s_and_needs_no_subnet_file(node: PairedHost) -> None:
    config = node.overlay()
    node.add(config)
    # Larger packets would not get to other hosts any more.
    node.write_subnet_file(mtu=1400)
    assert "has an MTU of 1450, not 1400" in node.fail(config, command="CHECK")["msg"]
    node.subnet_file.unlink()
    node.check(config)
    node.host.run("ip", "link", "set", "br0", "down")
    assert node.fail(config, command="CHECK")["msg"] == "bridge br0 is down"


def test_a_failed_add_leaves_nothing(node: PairedHost) -> None:
    config = node.overlay()
    before = node.snapshot()
    node.container().run("ip", "link", "add", "eth0", "type", "bridge")
    assert "already exists" in node.fail(config)["msg"]
    node.container().run("ip", "link", "del", "eth0")
    assert node.sent() == []
    assert_same_but_bridge(before, node.snapshot())
    # That of a container which is attached leaves it as it was.
    node.add(config)
    sent = (node.sent_dir / "c1-eth0").read_text()
    node.write_subnet_file(mtu=1400)
    node.fail(config)
    assert (node.sent_dir / "c1-eth0").read_text() == sent
    node.write_subnet_file()
    node.check(config)


def test_without_a_subnet_file(node: PairedHost) -> None:
    config = node.overlay()
    node.subnet_file.unlink()
    error = node.fail(config)
    assert (error["code"], error["msg"]) == (11, MISSING.format(node.subnet_file))
    assert "shibafu overlay run" in error["details"]
    answer = node.call("STATUS", config)
    assert (answer.status, answer.json["code"]) == (1, 50)
    assert answer.json["msg"] == error["msg"]
    node.subnet_file.write_text("FLANNEL_MTU=1450\n")
    assert (node.fail(config)["code"], node.call("STATUS", config).json["code"]) == (7, 50)
    node.write_subnet_file()
    assert node.call("STATUS", config).status == 0


def test_status_tells_that_another_host_has_the_subnet(node: PairedHost) -> None:
    config = node.overlay(name=f"net{os.getpid()}")
    directory = Path("/run/shibafu/overlay")
    directory.mkdir(parents=True, exist_ok=True)
    state = directory / f"{config['name']}.json"
    said = {"trouble": "another host has 10.42.1.0/24", "hint": "shibafu overlay rejoin"}
    try:
        for now, status in (("joined", 0), ("taken", 1)):
            state.write_text(dumps(said | {"state": now, "subnetFile": str(node.subnet_file)}))
            answer = node.call("STATUS", config)
            assert answer.status == status
        assert (answer.json["code"], answer.json["msg"]) == (50, said["trouble"])
        # Another agent's is not this network's.
        state.write_text(dumps(said | {"state": "taken", "subnetFile": "/run/flannel/subnet.env"}))
        assert node.call("STATUS", config).status == 0
    finally:
        state.unlink()


def test_gc_frees_what_is_not_listed(node: PairedHost) -> None:
    config = node.overlay()
    for container in ("c1", "c2"):
        node.add(config, container)
    other = node.overlay({"bridge": "br1"}, name="other")
    node.write_subnet_file(number=7)
    node.add(other, "c3")
    (node.sent_dir / "c4").write_text(dumps({"name": "net", "type": "shibafu-bridge"}))
    node.subnet_file.unlink()
    node.collect_garbage(config, ("c2", "eth0"))
    assert node.sent() == ["c2-eth0", "c3-eth0"]
    assert "eth0" not in node.links(node.container("c1"))
    node.check(config, "c2")
    node.check(other, "c3")
    # Without a list, nothing is known of what is valid.
    answer = node.call("GC", config)
    assert answer.status == 0
    assert node.sent() == ["c2-eth0", "c3-eth0"]


@pytest.mark.skipif(not REFERENCE.is_dir(), reason="the reference's plugins are not installed")
@pytest.mark.parametrize("name", [pytest.param("shibafu-overlay", marks=pytest.mark.long), "flannel"])
def test_gc_keeps_what_another_suite_s_del_needs(node: PairedHost, name: str) -> None:
    """Its bridge knows no GC: what it has attached is there until DEL, and so is what was sent to it."""
    (node.directory / "bin").mkdir()
    (node.directory / "bin" / name).symlink_to(node.plugin)
    node.plugin = node.directory / "bin" / name
    node.cni_path = f"{node.directory}/bin:{REFERENCE}:{node.suite.directory}"
    config = node.overlay({"type": "bridge"}, type=name, cniVersion="1.0.0")
    config["ipam"]["type"] = "host-local"
    for container in ("c1", "c2"):
        node.add(config, container)
    # As flannel's plugin has it: of the container alone.
    (node.sent_dir / "c1-eth0").rename(node.sent_dir / "c1")
    (node.sent_dir / "c3").write_text(dumps({"name": "net", "type": "shibafu-bridge"}))
    node.collect_garbage(config | {"cniVersion": "1.1.0"})
    assert node.sent() == ["c1", "c2-eth0"]
    assert len(node.leases()) == 4
    for container in ("c1", "c2"):
        node.delete(config, container)
    assert (node.sent(), node.leases()) == ([], set())


@pytest.mark.skipif(not REFERENCE.is_dir(), reason="the reference's plugins are not installed")
def test_the_reference_s_plugins_do_the_work(node: PairedHost, peer: PairedHost) -> None:
    """As flannel's plugin has it: CNI_PATH tells whose bridge and host-local are called."""
    for one in (node, peer):
        (one.directory / "bin").mkdir()
        (one.directory / "bin" / "flannel").symlink_to(one.plugin)
        one.plugin = one.directory / "bin" / "flannel"
        one.cni_path = f"{one.directory}/bin:{REFERENCE}"
        one.write_subnet_file(ip_masq=True)
        config = one.overlay(type="flannel", cniVersion="1.0.0")
        one.add(config)
    for client, server in ((node, peer), (peer, node)):
        address = server.address_of(config, 4)
        assert arrives(server.container(), address, client.container()) == client.address_of(config, 4)
    node.fail(node.overlay(type="flannel", cniVersion="1.0.0"))
    assert node.sent() == ["c1-eth0"]
    node.delete(node.overlay(type="flannel", cniVersion="1.0.0"))
    assert (node.sent(), node.leases()) == ([], set())


def test_it_does_not_call_itself(node: PairedHost) -> None:
    error = node.fail(node.overlay({"type": "shibafu-overlay"}))
    assert (error["code"], error["msg"]) == (7, 'plugin "shibafu-overlay" is the plugin that calls it')
    assert node.sent() == []


def test_policies_that_the_delegate_states(node: PairedHost, tmp_path: Path) -> None:
    config = node.overlay({"policies": [DB_FROM_WEB]})
    assert "are not applied" in node.fail(labelled(config, app="db"), "db")["msg"]
    (tmp_path / "net.conflist").write_text(dumps({"cniVersion": "1.0.0", "name": "net", "plugins": [config]}))
    with node.host.enter():
        open_policies(str(tmp_path / "policies"), str(tmp_path)).store((), enforce_policies)
    results = {name: node.add(labelled(config, app=name), name) for name in ("db", "web", "other")}
    address = results["db"]["ips"][0]["address"].partition("/")[0]
    reached = [can_reach(node.container("db"), address, node.container(name)) for name in ("web", "other")]
    assert reached == [True, False]
    node.check(labelled(config, app="db"), "db")
    apply(node)
