"""shibafu-overlay on two hosts: packets between their containers, and what each verb does and leaves."""

import os
from collections.abc import Iterator
from json import dumps, loads
from pathlib import Path

import pytest

from netns.overlay_pair import MTU, PairedHost, connect_hosts
from netns.policy_machine import DB_FROM_WEB, apply, labelled
from shibafu.networks.policy_control import enforce_policies
from shibafu.networks.policy_networks import open_policies
from support.machine import Config
from support.namespaces import Namespace
from support.published import Publisher, publish, reaches
from support.suite import Suite
from support.traffic import OUTSIDE, UPLINK, Outside, arrives, can_reach

pytestmark = pytest.mark.root

REFERENCE = Path("/usr/lib/cni")
MISSING = "failed to load flannel 'subnet.env' file: open {}: no such file or directory"


@pytest.fixture
def host(suite: Suite, tmp_path: Path) -> Iterator[PairedHost]:
    """A host that has a subnet, alone."""
    with Namespace("host") as namespace:
        made = PairedHost(suite, namespace, tmp_path / "one", 1)
        yield made
        made.close()


@pytest.fixture
def peer(host: PairedHost, tmp_path: Path) -> Iterator[PairedHost]:
    """Another host, connected with the first."""
    with Namespace("peer") as namespace:
        made = PairedHost(host.suite, namespace, tmp_path / "two", 2)
        connect_hosts(host, made)
        yield made
        made.close()


@pytest.mark.parametrize("backend", ["iptables", "nftables"])
def test_containers_of_two_hosts_see_each_other_s_own_addresses(
    host: PairedHost, peer: PairedHost, backend: str
) -> None:
    outside = Outside(host.host)
    try:
        config = host.overlay({"ipMasqBackend": backend})
        for one in (host, peer):
            if backend == "iptables":
                one.iptables("-P FORWARD DROP")
                one.iptables("-P FORWARD DROP", family="ip6tables")
            one.add(one.overlay({"ipMasqBackend": backend}))
            assert one.links(one.container())["eth0"]["mtu"] == MTU
            one.check(one.overlay({"ipMasqBackend": backend}))
        ways = ((host, peer), (peer, host))
        for version in (4, 6):
            for client, server in ways:
                address = server.address_of(config, version)
                seen = arrives(server.container(), address, client.container())
                assert seen == client.address_of(config, version)
            # Elsewhere they are the host.
            seen = arrives(outside.namespace, OUTSIDE[version], host.container())
            assert seen == UPLINK[version]
    finally:
        outside.close()


def test_an_agent_that_masquerades_does_it_alone(host: PairedHost) -> None:
    outside = Outside(host.host)
    try:
        host.write_subnet_file(ip_masq=True)
        config = host.overlay()
        host.add(config)
        address = host.address_of(config, 4)
        outside.namespace.run("ip", "route", "add", "10.42.0.0/16", "via", UPLINK[4])
        assert arrives(outside.namespace, OUTSIDE[4], host.container()) == address
        assert host.rules() == []
    finally:
        outside.close()


def test_a_published_port_is_reached_from_the_other_host(host: PairedHost, peer: PairedHost) -> None:
    config = host.overlay()
    result = host.add(config)
    peer.add(peer.overlay())
    Publisher(host, "").call("ADD", publish(8080, 80), previous=result)
    at, to = (host.address_of(config, 4), 80), (host.address, 8080)
    assert reaches(host.container(), at, peer.container(), to) == peer.address


def test_what_is_sent_is_flannel_s_and_kept(host: PairedHost) -> None:
    config = host.overlay(
        type="flannel",
        delegate={"bridge": "br0", "hairpinMode": True},
        ipam={"dataDir": str(host.data_dir), "routes": [{"dst": "10.9.0.0/16"}]},
        runtimeConfig={"mac": "02:42:0a:00:00:05"},
    )
    host.write_subnet_file(ip_masq=True)
    host.add(config)
    path = host.sent_dir / "c1-eth0"
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
            "dataDir": str(host.data_dir),
            "ranges": [[{"subnet": "10.42.1.0/24"}], [{"subnet": "fd42:0:0:1::/64"}]],
            "routes": [{"dst": "10.9.0.0/16"}, {"dst": "10.42.0.0/16"}, {"dst": "fd42::/48"}],
        },
    }
    assert host.links(host.container())["eth0"]["address"] == "02:42:0a:00:00:05"


@pytest.mark.parametrize("lost", ["nothing", "subnet file", "what was sent", "both", "namespace"])
def test_del_leaves_nothing_whatever_is_lost(host: PairedHost, lost: str) -> None:
    config = host.overlay()
    before = host.snapshot()
    host.add(config)
    if lost in ("subnet file", "both"):
        host.subnet_file.unlink()
    if lost in ("what was sent", "both"):
        (host.sent_dir / "c1-eth0").unlink()
    env = {"CNI_NETNS": ""} if lost == "namespace" else {}
    for _ in range(2):
        host.delete(config, **env)
        assert host.sent() == []
    assert_same_but_bridge(before, host.snapshot())


def assert_same_but_bridge(before: Config, after: Config) -> None:
    after["links"].pop("br0", None)
    after["routes"] = [route for route in after["routes"] if route["dev"] != "br0"]
    assert after == before


def test_del_of_what_flannel_s_plugin_has_sent(host: PairedHost) -> None:
    config = host.overlay(type="flannel")
    host.add(config)
    (host.sent_dir / "c1-eth0").rename(host.sent_dir / "c1")
    host.check(config)
    # One of another network is not taken for it.
    host.delete(config | {"name": "other"})
    assert host.sent() == ["c1"]
    host.delete(config)
    assert (host.sent(), host.leases()) == ([], set())


def test_two_interfaces_of_a_container_do_not_meet(host: PairedHost) -> None:
    config = host.overlay()
    host.add(config)
    host.add(config, ifname="eth1")
    assert host.sent() == ["c1-eth0", "c1-eth1"]
    for ifname in ("eth0", "eth1"):
        host.check(config, ifname=ifname)
    host.delete(config)
    host.check(config, ifname="eth1")
    host.delete(config, ifname="eth1")
    assert (host.sent(), host.leases()) == ([], set())


def test_check_is_the_delegate_s_and_needs_no_subnet_file(host: PairedHost) -> None:
    config = host.overlay()
    host.add(config)
    # Larger packets would not get to other hosts any more.
    host.write_subnet_file(mtu=1400)
    assert "has an MTU of 1450, not 1400" in host.fail(config, command="CHECK")["msg"]
    host.subnet_file.unlink()
    host.check(config)
    host.host.run("ip", "link", "set", "br0", "down")
    assert host.fail(config, command="CHECK")["msg"] == "bridge br0 is down"


def test_a_failed_add_leaves_nothing(host: PairedHost) -> None:
    config = host.overlay()
    before = host.snapshot()
    host.container().run("ip", "link", "add", "eth0", "type", "bridge")
    assert "already exists" in host.fail(config)["msg"]
    host.container().run("ip", "link", "del", "eth0")
    assert host.sent() == []
    assert_same_but_bridge(before, host.snapshot())
    # That of a container which is attached leaves it as it was.
    host.add(config)
    sent = (host.sent_dir / "c1-eth0").read_text()
    host.write_subnet_file(mtu=1400)
    host.fail(config)
    assert (host.sent_dir / "c1-eth0").read_text() == sent
    host.write_subnet_file()
    host.check(config)


def test_without_a_subnet_file(host: PairedHost) -> None:
    config = host.overlay()
    host.subnet_file.unlink()
    error = host.fail(config)
    assert (error["code"], error["msg"]) == (11, MISSING.format(host.subnet_file))
    assert "shibafu overlay run" in error["details"]
    answer = host.call("STATUS", config)
    assert (answer.status, answer.json["code"]) == (1, 50)
    assert answer.json["msg"] == error["msg"]
    host.subnet_file.write_text("FLANNEL_MTU=1450\n")
    assert (host.fail(config)["code"], host.call("STATUS", config).json["code"]) == (7, 50)
    host.write_subnet_file()
    assert host.call("STATUS", config).status == 0


def test_status_tells_that_another_host_has_the_subnet(host: PairedHost) -> None:
    config = host.overlay(name=f"net{os.getpid()}")
    directory = Path("/run/shibafu/overlay")
    directory.mkdir(parents=True, exist_ok=True)
    state = directory / f"{config['name']}.json"
    said = {"trouble": "another host has 10.42.1.0/24", "hint": "shibafu overlay rejoin"}
    try:
        for now, status in (("joined", 0), ("taken", 1)):
            state.write_text(dumps(said | {"state": now, "subnetFile": str(host.subnet_file)}))
            answer = host.call("STATUS", config)
            assert answer.status == status
        assert (answer.json["code"], answer.json["msg"]) == (50, said["trouble"])
        # Another agent's is not this network's.
        state.write_text(dumps(said | {"state": "taken", "subnetFile": "/run/flannel/subnet.env"}))
        assert host.call("STATUS", config).status == 0
    finally:
        state.unlink()


def test_gc_frees_what_is_not_listed(host: PairedHost) -> None:
    config = host.overlay()
    for container in ("c1", "c2"):
        host.add(config, container)
    other = host.overlay({"bridge": "br1"}, name="other")
    host.write_subnet_file(number=7)
    host.add(other, "c3")
    (host.sent_dir / "c4").write_text(dumps({"name": "net", "type": "shibafu-bridge"}))
    host.subnet_file.unlink()
    host.collect_garbage(config, ("c2", "eth0"))
    assert host.sent() == ["c2-eth0", "c3-eth0"]
    assert "eth0" not in host.links(host.container("c1"))
    host.check(config, "c2")
    host.check(other, "c3")
    # Without a list, nothing is known of what is valid.
    answer = host.call("GC", config)
    assert answer.status == 0
    assert host.sent() == ["c2-eth0", "c3-eth0"]


@pytest.mark.skipif(not REFERENCE.is_dir(), reason="the reference's plugins are not installed")
def test_the_reference_s_plugins_do_the_work(host: PairedHost, peer: PairedHost) -> None:
    """As flannel's plugin has it: CNI_PATH tells whose bridge and host-local are called."""
    for one in (host, peer):
        (one.directory / "bin").mkdir()
        (one.directory / "bin" / "flannel").symlink_to(one.plugin)
        one.plugin = one.directory / "bin" / "flannel"
        one.cni_path = f"{one.directory}/bin:{REFERENCE}"
        one.write_subnet_file(ip_masq=True)
        config = one.overlay(type="flannel", cniVersion="1.0.0")
        one.add(config)
    for client, server in ((host, peer), (peer, host)):
        address = server.address_of(config, 4)
        assert arrives(server.container(), address, client.container()) == client.address_of(config, 4)
    host.fail(host.overlay(type="flannel", cniVersion="1.0.0"))
    assert host.sent() == ["c1-eth0"]
    host.delete(host.overlay(type="flannel", cniVersion="1.0.0"))
    assert (host.sent(), host.leases()) == ([], set())


def test_it_does_not_call_itself(host: PairedHost) -> None:
    error = host.fail(host.overlay({"type": "shibafu-overlay"}))
    assert (error["code"], error["msg"]) == (7, 'plugin "shibafu-overlay" is the plugin that calls it')
    assert host.sent() == []


def test_policies_that_the_delegate_states(host: PairedHost, tmp_path: Path) -> None:
    config = host.overlay({"policies": [DB_FROM_WEB]})
    assert "are not applied" in host.fail(labelled(config, app="db"), "db")["msg"]
    (tmp_path / "net.conflist").write_text(dumps({"cniVersion": "1.0.0", "name": "net", "plugins": [config]}))
    with host.host.enter():
        open_policies(str(tmp_path / "policies"), str(tmp_path)).store((), enforce_policies)
    results = {name: host.add(labelled(config, app=name), name) for name in ("db", "web", "other")}
    address = results["db"]["ips"][0]["address"].partition("/")[0]
    reached = [can_reach(host.container("db"), address, host.container(name)) for name in ("web", "other")]
    assert reached == [True, False]
    host.check(labelled(config, app="db"), "db")
    apply(host)
