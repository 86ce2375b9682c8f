"""`shibafu watch run` and what further plugins of a chain have made, beside firewalls of others."""

import socket
import time
from collections.abc import Iterator
from json import dumps
from pathlib import Path
from typing import Any

import pytest

from netns.walled import lead_outside_back
from netns.watched import Watched, assert_heals_within, settle
from shibafu.cni.names import calc_host_veth
from support.command import CommandLine
from support.firewalld import PROGRAM, Firewalld
from support.machine import link_iptables
from support.namespaces import Namespace
from support.stream import Stream
from support.traffic import OUTSIDE, UPLINK, Outside, open_socket
from support.waiting import wait_for

PORTS = [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]
LIMIT = {"ingressRate": 20_000_000, "ingressBurst": 5_000_000}
BRIDGE: dict[str, Any] = {
    "type": "bridge",
    "bridge": "jobs0",
    "isDefaultGateway": True,
    "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.69.0.0/24"}]]},
}
# Until connections are possible again: a firewall is loaded in several transactions.
BOUND = 0.5


@pytest.fixture
def outside(host: Namespace) -> Iterator[Outside]:
    made = Outside(host)
    yield made
    made.close()


def connect(shibafu: CommandLine, web: Namespace, *plugins: dict[str, Any], **bridge: object) -> None:
    """Attach a container by a chain."""
    chain = {"cniVersion": "1.0.0", "name": "jobs", "plugins": [BRIDGE | bridge, *plugins]}
    (shibafu.conf_dir / "10-jobs.conflist").write_text(dumps(chain))
    shibafu(f"network connect jobs {web.name}")


def can_connect(outside: Outside, web: Namespace) -> bool:
    """Return whether the published port leads to the container."""
    with open_socket(web, 4, socket.SOCK_STREAM) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(("10.69.0.2", 80))
        server.listen()
        with open_socket(outside.namespace, 4, socket.SOCK_STREAM, patience=0.3) as client:
            try:
                client.connect((UPLINK[4], 8080))
            except OSError:
                return False
            return True


@pytest.mark.parametrize("backend", ["iptables", "nftables"])
def test_published_ports(
    shibafu: CommandLine, host: Namespace, web: Namespace, outside: Outside, backend: str
) -> None:
    ports = {"type": "portmap", "backend": backend, "runtimeConfig": {"portMappings": PORTS}}
    connect(shibafu, web, ports, ipMasq=True, ipMasqBackend=backend)
    assert can_connect(outside, web)
    with Watched(shibafu) as watched:
        host.run("nft", "flush", "ruleset")
        watched.wait_for("published ports")
        wait_for(lambda: can_connect(outside, web))
        assert shibafu.json("network repair -n")["faults"] == []


def test_limits(shibafu: CommandLine, host: Namespace, web: Namespace) -> None:
    connect(shibafu, web, {"type": "bandwidth", **LIMIT})
    port = calc_host_veth("jobs", web.name, "eth0")
    before = host.run("tc", "qdisc", "show", "dev", port)
    with Watched(shibafu) as watched:
        host.run("tc", "qdisc", "del", "dev", port, "root")
        watched.wait_for("the limit of link")
        assert "tbf" in before
        assert "tbf" in host.run("tc", "qdisc", "show", "dev", port)
        assert shibafu.json("network repair -n")["faults"] == []


def test_rules_of_the_firewall_plugin(
    shibafu: CommandLine, host: Namespace, web: Namespace, outside: Outside
) -> None:
    lead_outside_back(outside.namespace)
    outside.namespace.run("ip", "route", "add", "10.69.0.0/24", "via", UPLINK[4])
    connect(shibafu, web, {"type": "firewall"})
    host.run("iptables", "-P", "FORWARD", "DROP")
    with Watched(shibafu) as watched, Stream(outside.namespace, OUTSIDE[4], web) as stream:
        assert_heals_within(BOUND, stream, lambda: host.run("iptables", "-F", "FORWARD"))
        watched.wait_for("firewall rules of network jobs")


@pytest.mark.skipif(not PROGRAM.exists(), reason="firewalld is not installed")
@pytest.mark.parametrize("backend", ["nftables", "iptables"])
def test_firewalld_is_reloaded(
    shibafu: CommandLine, host: Namespace, web: Namespace, outside: Outside, tmp_path: Path, backend: str
) -> None:
    """It forgets what it was told at run time; with its iptables backend, the rules of others go, too."""
    daemon = Firewalld(host, tmp_path / "firewalld", backend)
    shibafu.env["DBUS_SYSTEM_BUS_ADDRESS"] = daemon.address
    try:
        connect(shibafu, web, {"type": "firewall"}, ipMasq=True)
        assert daemon.sources() == {"10.69.0.0/24"}
        with Watched(shibafu) as watched, Stream(outside.namespace, OUTSIDE[4], web, UPLINK[4]) as stream:
            daemon.reload()
            watched.wait_for("failed to find the address 10.69.0.0/24 in trusted zone")
            wait_for(lambda: daemon.sources() == {"10.69.0.0/24"})
            stream.wait_for_arrivals()
            wait_for(lambda: shibafu.json("network repair -n")["faults"] == [])
    finally:
        daemon.close()


@pytest.mark.long
def test_what_nobody_announces_is_found_within_half_a_minute(
    shibafu: CommandLine, host: Namespace, web: Namespace, tmp_path: Path
) -> None:
    """Rules of iptables' legacy variant, a switch, and the file of a lease."""
    path = link_iptables(tmp_path / "bin", "legacy")
    shibafu.env["PATH"] = path
    connect(shibafu, web, ipMasq=True)
    (lease,) = (file for file in shibafu.store.rglob("10.69.0.*") if file.is_file())
    with Watched(shibafu) as watched:
        begin = time.monotonic()
        host.run(f"{tmp_path}/bin/iptables", "-t", "nat", "-F")
        host.run("sysctl", "-qw", "net.ipv6.conf.jobs0.accept_ra=2")
        lease.unlink()
        while len(watched.lines) < 3 and time.monotonic() < begin + 35:
            time.sleep(0.1)
        assert time.monotonic() < begin + 32
        assert lease.exists()
        assert shibafu.json("network repair -n")["faults"] == []


KEYS = {
    "bridge": ("ip link set jobs0 down", "bridge jobs0 is down"),
    "rules": ("nft flush ruleset", "firewall rules of network jobs are missing"),
    "sysctl": ("sysctl -qw net.ipv4.ip_forward=0", "forwarding of IPv4 is turned off on the host"),
}


@pytest.mark.parametrize("key", KEYS)
def test_a_configuration_says_what_is_healed(
    shibafu: CommandLine, host: Namespace, web: Namespace, key: str
) -> None:
    connect(shibafu, web, ipMasq=True, watch={key: False})
    with Watched(shibafu) as watched:
        for command, _ in KEYS.values():
            host.run(*command.split())
        for other in KEYS.keys() - {key}:
            watched.wait_for(KEYS[other][1])
        settle()
        assert not any(KEYS[key][1] in line for line in watched.lines)
    left = [fault["what"] for fault in shibafu.json("network repair -n", status=1)["faults"]]
    assert KEYS[key][1] in left
    assert not any(KEYS[other][1] in left for other in KEYS.keys() - {key})


@pytest.mark.parametrize("command", ["ip addr del 10.69.0.1/24 dev jobs0", "ip link del jobs0"])
def test_switches_that_are_not_watched_stay_as_they_are_when_a_gateway_is_healed(
    shibafu: CommandLine, host: Namespace, web: Namespace, command: str
) -> None:
    connect(shibafu, web, watch={"sysctl": False})
    with Watched(shibafu) as watched:
        host.run("sysctl", "-qw", "net.ipv4.ip_forward=0")
        host.run(*command.split())
        watched.wait_for("gateway address 10.69.0.1/24 is missing")
        settle()
        assert host.run("sysctl", "-n", "net.ipv4.ip_forward") == "0\n"
    # Its administrator has asked for this.
    shibafu("network repair")
    assert host.run("sysctl", "-n", "net.ipv4.ip_forward") == "1\n"


@pytest.mark.parametrize("is_watched", [False, True])
def test_inside_of_containers_is_only_healed_where_that_is_wanted(
    shibafu: CommandLine, web: Namespace, is_watched: bool
) -> None:
    connect(shibafu, web, {"type": "tuning", "mtu": 1400}, watch={"container": is_watched})
    web.run("ip", "route", "del", "default")
    web.run("ip", "link", "set", "eth0", "mtu", "1300")
    healed = {heal["resource"] for heal in shibafu.json("watch run --once")["heals"]}
    assert healed == ({"ContainerInterface", "TunedInterface"} if is_watched else set())
    assert ("default" in web.run("ip", "route")) == is_watched
    assert ("mtu 1400" in web.run("ip", "link", "show", "eth0")) == is_watched


@pytest.mark.long
def test_sysctls_of_containers_are_found_within_half_a_minute(shibafu: CommandLine, web: Namespace) -> None:
    tuning = {"type": "tuning", "sysctl": {"net.ipv4.conf.eth0.arp_filter": "1"}}
    connect(shibafu, web, tuning, watch={"container": True})
    with Watched(shibafu) as watched:
        begin = time.monotonic()
        web.run("sysctl", "-qw", "net.ipv4.conf.eth0.arp_filter=0")
        while not watched.lines and time.monotonic() < begin + 35:
            time.sleep(0.1)
        assert web.run("sysctl", "-n", "net.ipv4.conf.eth0.arp_filter") == "1\n"
        assert time.monotonic() < begin + 32


@pytest.mark.long
def test_switches_of_br_netfilter_are_found_within_half_a_minute(
    shibafu: CommandLine, host: Namespace, web: Namespace
) -> None:
    """FORWARD sees what bridges forward as soon as one is on: what accepts that has to be there."""
    if not Path("/proc/sys/net/bridge/bridge-nf-call-iptables").exists():
        pytest.skip("br_netfilter is not loaded")
    host.run("sysctl", "-qw", "net.bridge.bridge-nf-call-iptables=0")
    connect(shibafu, web)
    assert shibafu.json("network repair -n")["faults"] == []
    with Watched(shibafu) as watched:
        begin = time.monotonic()
        host.run("sysctl", "-qw", "net.bridge.bridge-nf-call-iptables=1")
        assert shibafu.json("network repair -n", status=1)["faults"] != []
        while not watched.lines and time.monotonic() < begin + 35:
            time.sleep(0.1)
        assert shibafu.json("network repair -n")["faults"] == []
        assert time.monotonic() < begin + 32
