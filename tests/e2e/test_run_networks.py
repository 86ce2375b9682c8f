"""The networks that `shibafu run` attaches containers to, and who reaches whom on them."""

import pytest

from e2e.containers import Containers
from e2e.machine import HOST, OUTSIDE, Machine

ADDRESS = "172.20.0."
FETCH_OUTSIDE = rf"printf 'GET /cgi-bin/address HTTP/1.0\r\n\r\n' | busybox nc -w 3 {OUTSIDE[0]} 80"


def test_three_containers_reach_each_other_the_gateway_and_the_world(
    machine: Machine, containers: Containers
) -> None:
    machine.serve("outside")
    names = ("web1", "web2", "web3")
    for name in names:
        containers.start(name)
    shown = [containers.command(f"exec {name} ip addr show eth0") for name in names]
    addresses = [containers.address(name) for name in names]
    assert addresses == [f"{ADDRESS}{number}" for number in (2, 3, 4)]
    for address, text in zip(addresses, shown, strict=True):
        assert f"inet {address}/24" in text
    for name in names:
        for address in (*addresses, f"{ADDRESS}1"):
            assert containers.ping(name, address), (name, address)
    pid = containers.view("web1")["pid"]
    seen = machine.run("nsenter", f"--net=/proc/{pid}/ns/net", "sh", "-c", FETCH_OUTSIDE)
    assert HOST[0] in seen


def test_policies_find_containers_by_their_labels(machine: Machine, containers: Containers) -> None:
    policy = """{"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
    "metadata": {"name": "db", "namespace": "prod"},
    "spec": {"podSelector": {"matchLabels": {"app": "db"}},
             "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "web"}}}]}]}}"""
    machine.run("sh", "-c", "cat >/run/policy.json <<'END'\n" + policy + "\nEND")
    for name, namespace in (("db", "prod"), ("web", "prod"), ("web", "other")):
        containers.start(f"{name}-{namespace}", f"--namespace {namespace} --label app={name}")
    containers.command("policy apply -f /run/policy.json")
    for name in ("web-prod", "web-other"):
        is_allowed = name == "web-prod"
        assert containers.ping(name, containers.address("db-prod")) is is_allowed
        done = containers.command.try_run(f"policy explain {name} db-prod 80")
        assert (done.returncode == 0) is is_allowed
    containers.command("restart --time 0 web-prod")
    assert containers.ping("web-prod", containers.address("db-prod"))
    containers.command("policy rm prod/db")
    assert containers.ping("web-other", containers.address("db-prod"))


def test_the_default_network_takes_the_next_subnet_that_is_free(
    machine: Machine, containers: Containers
) -> None:
    """Docker Compose gives out 172.18.0.0/16 and those that follow."""
    machine.run("ip", "link", "add", "br-compose", "type", "bridge")
    machine.run("ip", "addr", "add", "172.20.0.1/16", "dev", "br-compose")
    machine.run("ip", "link", "set", "br-compose", "up")
    containers.start("web1")
    assert containers.address("web1") == "172.21.0.2"
    assert containers.ping("web1", "172.21.0.1")
    machine.run("ip", "link", "del", "br-compose")


def test_a_stated_address_and_hardware_address(containers: Containers) -> None:
    containers.start("fixed", "--ip 172.20.0.100 --mac 02:00:5e:00:00:09")
    assert containers.address("fixed") == "172.20.0.100"
    assert "02:00:5e:00:00:09" in containers.command("exec fixed ip link show eth0")
    said = containers.command.fail("run -d --ip 172.20.0.100 --name other alpine sleep 600", status=125)
    assert "requested IP address 172.20.0.100 is not available" in said
    assert containers.state("other") == "gone"


def test_lists_and_inspects_the_default_network(containers: Containers) -> None:
    containers.start("web1")
    assert "bridge   shibafu0 (up)  172.20.0.0/24           1     1   252" in containers.command("network ls")
    drawn = containers.command("network inspect bridge")
    assert "eth0  web1  172.20.0.2/24  up" in drawn
    assert "✗" not in drawn
    listed = containers.command("ps")
    assert listed.splitlines()[0].split() == [
        "NAME", "IMAGE", "STATUS", "NETWORKS", "ADDRESSES", "PORTS", "COMMAND",
    ]  # fmt: skip
    assert "172.20.0.2/24" in listed


def test_networks_are_repaired_under_running_containers(containers: Containers, machine: Machine) -> None:
    for name in ("web1", "web2"):
        containers.start(name)
    pid = containers.view("web1")["pid"]
    machine.run("iptables", "-t", "nat", "-F")
    machine.run("ip", "link", "del", "shibafu0")
    assert not containers.ping("web1", f"{ADDRESS}3")
    containers.command("network repair")
    for address in (f"{ADDRESS}3", f"{ADDRESS}1", OUTSIDE[0]):
        assert containers.ping("web1", address), address
    assert containers.view("web1")["pid"] == pid
    containers.command("network check")


def test_an_address_comes_back_with_its_container(containers: Containers) -> None:
    for name in ("web1", "web2"):
        containers.start(name)
    containers.command("stop --time 0 web1")
    assert (containers.state("web1"), containers.view("web1")["exitCode"]) == ("exited", 137)
    containers.start("web3")
    assert containers.address("web3") != f"{ADDRESS}2"
    containers.command("start web1")
    assert containers.address("web1") == f"{ADDRESS}2"
    containers.command("restart --time 0 web1")
    assert containers.address("web1") == f"{ADDRESS}2"
    # Also after it was removed, as long as nobody else has it.
    containers.command("rm --force web1 web2")
    containers.start("web2")
    assert containers.address("web2") == f"{ADDRESS}3"
    containers.start("thief", "--ip 172.20.0.2")
    containers.start("web1")
    assert containers.address("web1") not in (f"{ADDRESS}2", f"{ADDRESS}3")


def test_several_networks_or_none_or_the_hosts(machine: Machine, containers: Containers) -> None:
    containers.command("network create blue --subnet 172.21.0.0/24")
    containers.command("network create green --subnet 172.22.0.0/24 --ipv6")
    containers.start("web1", "--network blue --network green")
    links = containers.command("exec web1 ip addr")
    assert "172.21.0.2/24" in links
    assert "172.22.0.2/24" in links
    assert links.count("inet6 fd") == 1
    assert "eth0" not in containers.command("run --rm --network none alpine ip addr")
    assert "uplink" in containers.command("run --rm --network host alpine ip addr")
    said = containers.command.fail("run --rm --network nope alpine true", status=125)
    assert "there is no network nope" in said
    assert "blue, green" in said


@pytest.mark.long
def test_the_first_network_leads_out_unless_another_states_a_lower_metric(containers: Containers) -> None:
    """The world has no way back to a network that does not masquerade."""
    containers.command("network create inner --subnet 172.21.0.0/24 --no-masq")
    containers.command("network create behind --subnet 172.22.0.0/24 --no-masq --driver-opt metric=2000")
    containers.start("web1", "--network bridge --network inner")
    containers.start("web2", "--network inner --network bridge")
    containers.start("web3", "--network behind --network bridge")
    assert [containers.ping(name, OUTSIDE[0]) for name in ("web1", "web2", "web3")] == [True, False, True]
    containers.command("network disconnect inner web2")
    assert containers.ping("web2", OUTSIDE[0])
    containers.command("network disconnect bridge web1")
    assert not containers.ping("web1", OUTSIDE[0])
    containers.command("network connect bridge web1")
    assert containers.ping("web1", OUTSIDE[0])


@pytest.mark.long
def test_isolated_networks_do_not_reach_each_other(machine: Machine, containers: Containers) -> None:
    for number, name in ((1, "blue"), (2, "green")):
        containers.command(f"network create {name} --subnet 172.21.{number}.0/24 --isolate")
        containers.serve(name, f"--network {name} -p {8080 + number}:80")
        containers.start(f"{name}2", f"--network {name}")
    containers.start("plain")
    assert containers.ping("blue", "172.21.1.3")
    assert not containers.ping("blue", "172.21.2.2")
    assert not containers.ping("green", "172.21.1.2")
    assert containers.ping("plain", "172.21.2.2")
    assert containers.ping("blue", containers.address("plain"))
    assert containers.ping("blue", OUTSIDE[0])
    # What is published is for everybody.
    assert "nogroup" in containers.command(f"exec blue wget -qO- http://{HOST[0]}:8082/group")


def test_a_network_is_connected_to_a_running_container(containers: Containers) -> None:
    containers.command("network create blue --subnet 172.21.0.0/24")
    containers.start("web1")
    containers.command("network connect blue web1")
    assert "172.21.0.2/24" in containers.command("exec web1 ip addr show eth1")
    view = containers.view("web1")
    assert (view["networks"], view["addresses"]) == (["bridge", "blue"], ["172.20.0.2/24", "172.21.0.2/24"])
    said = containers.command.try_run("restart --time 0 web1").stderr
    assert "warning: web1 is no longer on network blue" in said
    assert "`shibafu network connect blue web1`" in said
    assert containers.command.endpoints("blue") == []
    assert containers.view("web1")["networks"] == ["bridge"]
    assert containers.command.try_run("restart --time 0 web1").stderr == ""
