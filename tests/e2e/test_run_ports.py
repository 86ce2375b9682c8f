"""Ports that `shibafu run` publishes, and limits."""

import pytest

from e2e.containers import Containers
from e2e.machine import HOST, Machine


def test_published_ports_and_limits_take_the_plugins_of_these_roles(
    machine: Machine, containers: Containers
) -> None:
    containers.serve("web1", "-p 8080:80 --bandwidth ingress=10M,egress=20M")
    fetched = machine.run(
        "sh", "-c", rf"printf 'GET /group HTTP/1.0\r\n\r\n' | busybox nc -w 3 {HOST[0]} 8080", netns="outside"
    )
    assert "nogroup:x:65534" in fetched
    shaped = machine.run("tc", "qdisc")
    assert "rate 10Mbit" in shaped
    assert "rate 20Mbit" in shaped
    containers.command("network limit web1 --egress 5M")
    shaped = machine.run("tc", "qdisc")
    assert "rate 10Mbit" in shaped
    assert "rate 5Mbit" in shaped
    containers.command("rm --force web1")
    assert "rate" not in machine.run("tc", "qdisc")
    assert machine.rules() == []


def test_ports_take_no_plugin_of_others(machine: Machine, containers: Containers) -> None:
    containers.serve("web1", "-p 0:80 -p 9000-9002:80-82")
    ports = containers.view("web1")["ports"]
    chosen = next(port.partition(":")[0] for port in ports if port.endswith(":80"))
    assert sorted(ports) == sorted([f"{chosen}:80", "9000-9002:80-82"])
    for port in (chosen, "9000"):
        ask = rf"printf 'GET /group HTTP/1.0\r\n\r\n' | busybox nc -w 3 {HOST[0]} {port}"
        assert "nogroup" in machine.run("sh", "-c", ask, netns="outside")
    said = containers.command.fail("run -d --name web2 -p 9001:80 alpine sleep 600", status=125)
    assert "port 9001/tcp of the host is taken by container web1 on network bridge" in said
    containers.command("rm --force web1")
    containers.start("web2", "-p 9001:80")
    # A container that is started again may find that another one has its port by now.
    containers.start("web3", "-p 8080:80")
    containers.command("stop --time 0 web3")
    containers.start("web4", "-p 8080:80")
    said = containers.command.fail("start web3")
    assert "port 8080/tcp of the host is taken by container web4 on network bridge" in said


@pytest.mark.parametrize(
    ("breakage", "said"),
    [
        ("iptables -t nat -F", "published ports lead nowhere"),
        pytest.param(
            *("sysctl -qw net.ipv4.conf.shibafu0.route_localnet=0", "127.0.0.1"), marks=pytest.mark.long
        ),
        ("ip link del shibafu0", "shibafu0"),
    ],
)
def test_repair_restores_ports(machine: Machine, containers: Containers, breakage: str, said: str) -> None:
    containers.serve("web1", "-p 8080:80 -p 8443:443/udp")
    assert "nothing to repair" in containers.command("network repair")
    (endpoint,) = containers.command.json("network inspect bridge")[0]["endpoints"]
    (ports,) = [one for one in endpoint["resources"] if one["resource"] == "publishedPorts"]
    assert ports["faults"] == []
    assert [one["hostPort"] for one in ports["attributes"]["portMappings"]] == [8080, 8443]
    machine.run(*breakage.split())
    assert said in containers.command.try_run("network repair --dry-run").stdout
    containers.command("network repair")
    assert "nothing to repair" in containers.command("network repair")
    containers.command("network check")
    ask = rf"printf 'GET /group HTTP/1.0\r\n\r\n' | busybox nc -w 3 {HOST[0]} 8080"
    assert "nogroup" in machine.run("sh", "-c", ask, netns="outside")
    ask = ask.replace(HOST[0], "127.0.0.1")
    assert "nogroup" in machine.run("sh", "-c", ask)


@pytest.mark.parametrize("lost", ["/var/lib/cni/results", "/var/lib/cni/results /run/shibafu"])
def test_ports_go_also_when_what_is_remembered_was_lost(
    machine: Machine, containers: Containers, lost: str
) -> None:
    containers.start("web1", "-p 8080:80")
    machine.run("find", *lost.split(), "-mindepth", "1", "-delete")
    containers.command("stop --time 0 web1")
    assert not [rule for rule in machine.rules() if "8080" in rule]
    containers.command("rm --force web1")


def test_a_container_reaches_its_own_published_port(machine: Machine, containers: Containers) -> None:
    machine.run("sysctl", "-eqw", "net.bridge.bridge-nf-call-iptables=1")
    containers.command("network create blue --subnet 172.21.0.0/24")
    for number, network in enumerate(("bridge", "blue")):
        containers.serve(f"web{number}", f"--network {network} -p {8080 + number}:80")
        ask = rf"printf 'GET /group HTTP/1.0\r\n\r\n' | nc -w 3 {HOST[0]} {8080 + number}"
        assert "nogroup" in containers.command(f'exec web{number} sh -c "{ask}"')
