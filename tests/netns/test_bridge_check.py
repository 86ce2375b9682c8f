"""CHECK: it passes right after ADD, and notices each thing that is damaged."""

from collections.abc import Callable

import pytest

from support.machine import Config, Machine
from support.namespaces import Namespace

# What somebody does to the host, what somebody does in the container, and what CHECK says about it: some of
# what breakages.py has. {port} stands for the attachment's link on the host.
ON_THE_HOST = {
    "ip link set {port} nomaster": "link {port} is not a port of bridge br0",
    "ip link del br0": "bridge br0 is missing",
    "ip addr del fd00:10::1/64 dev br0": "gateway address fd00:10::1/64 is missing on br0",
    "sysctl -qw net.ipv6.conf.br0.forwarding=0": "forwarding of IPv6 is turned off on br0",
    "ip6tables -F": "firewall rules of network net are missing",
}
IN_THE_CONTAINER = {
    "ip link del eth0": " of the host is missing",
    "ip link set eth0 address 02:00:00:00:00:99": "interface eth0 has the hardware address 02:00:00:00:00:99",
    "ip -6 route del default": "route to ::/0 is missing in the container",
    "sysctl -qw net.ipv6.conf.eth0.autoconf=1": "interface eth0 accepts router advertisements",
    "ip route del 192.168.0.0/16": "route to 192.168.0.0/16 is missing in the container",
}


@pytest.fixture
def config(machine: Machine) -> Config:
    """A dual-stack NAT network with a route more."""
    config = machine.config("10.10.0.0/24", "fd00:10::/64")
    config["ipam"]["routes"] = [{"dst": "192.168.0.0/16"}]
    return config


def test_check_passes_right_after_add_and_changes_nothing(machine: Machine, config: Config) -> None:
    for container in ("c1", "c2"):
        machine.add(config, container)
        machine.check(config, container)
    before = machine.snapshot()
    machine.check(config, "c1")
    assert machine.snapshot() == before


def expect_failure(machine: Machine, config: Config, message: str) -> None:
    error = machine.fail(config, command="CHECK")
    assert error["code"] == 104
    assert message in error["msg"]


@pytest.mark.parametrize("damage", ON_THE_HOST)
def test_damage_on_the_host(machine: Machine, config: Config, damage: str) -> None:
    port = machine.add(config)["interfaces"][1]["name"]
    machine.host.run(*damage.format(port=port).split())
    expect_failure(machine, config, ON_THE_HOST[damage].format(port=port))


@pytest.mark.parametrize("damage", IN_THE_CONTAINER)
def test_damage_in_the_container(machine: Machine, config: Config, damage: str) -> None:
    machine.add(config)
    machine.container().run(*damage.split())
    expect_failure(machine, config, IN_THE_CONTAINER[damage])


def test_a_bridge_replaced_by_something_else(machine: Machine, config: Config) -> None:
    machine.add(config)
    machine.host.run("ip", "link", "del", "br0")
    machine.host.run("ip", "link", "add", "br0", "type", "veth")
    expect_failure(machine, config, "br0 is not a bridge")


def test_an_interface_replaced_by_something_else(machine: Machine, config: Config) -> None:
    machine.add(config)
    container = machine.container()
    for command in ("ip link set eth0 name old", "ip link add eth0 type bridge", "ip link set eth0 up"):
        container.run(*command.split())
    expect_failure(machine, config, "interface eth0 is not the other end of")


def test_switches_of_the_port_and_the_bridge(machine: Machine, config: Config) -> None:
    hairpin = config | {"hairpinMode": True}
    port = machine.add(hairpin)["interfaces"][1]["name"]
    machine.check(hairpin)
    machine.host.run("ip", "link", "set", port, "type", "bridge_slave", "hairpin", "off")
    expect_failure(machine, hairpin, f"hairpin mode of link {port} is off")
    promiscuous = config | {"promiscMode": True}
    machine.check(promiscuous | {"promiscMode": False})
    expect_failure(machine, promiscuous, "bridge br0 is not in promiscuous mode")


def test_a_lease_that_is_gone(machine: Machine, config: Config) -> None:
    machine.add(config)
    for lease in machine.leases():
        (machine.data_dir / lease).unlink()
    error = machine.fail(config, command="CHECK")
    assert error["msg"] == "host-local: Failed to find address added by container c1"


def later_mac(result: Config) -> None:
    result["interfaces"][2]["mac"] = "02:00:00:00:00:99"


def later_routes(result: Config) -> None:
    result["routes"] = [{"dst": "172.16.0.0/12", "gw": "10.10.0.1"}]


def later_links(result: Config) -> None:
    # bandwidth appends the link that it makes
    result["interfaces"].append({"name": "bwp1", "mac": "02:00:00:00:00:98"})


def later_address(result: Config) -> None:
    # an address of another interface of the container is another plugin's matter
    result["interfaces"].append({"name": "eth7", "sandbox": "/elsewhere"})
    result["ips"].append({"address": "10.99.0.2/24", "interface": 3})


@pytest.mark.parametrize(
    ("change", "command"),
    [
        (later_mac, "ip link set eth0 address 02:00:00:00:00:99"),
        (later_routes, "ip route add 172.16.0.0/12 via 10.10.0.1"),
        (later_links, "true"),
        (later_address, "true"),
    ],
)
def test_what_later_plugins_of_the_chain_changed_is_right(
    machine: Machine, config: Config, change: Callable[[Config], None], command: str
) -> None:
    result = machine.add(config)
    change(result)
    machine.container().run(*command.split())
    machine.check(config | {"prevResult": result})


def test_check_needs_the_result(machine: Machine, config: Config) -> None:
    machine.add(config)
    error = machine.fail(config | {"prevResult": None}, command="CHECK")
    assert (error["code"], error["msg"]) == (7, "Required prevResult missing")


@pytest.mark.parametrize("key", ["interfaces", "ips", "all"])
def test_check_needs_the_attachment_in_the_result(machine: Machine, config: Config, key: str) -> None:
    result = machine.add(config)
    lacking = {} if key == "all" else {name: value for name, value in result.items() if name != key}
    error = machine.fail(config | {"prevResult": lacking}, command="CHECK")
    assert error["code"] == 7
    assert error["msg"].startswith("prevResult lacks ")


@pytest.mark.parametrize("destination", ["0.0.0.0/0", "::/0", "172.16.0.0/12"])
@pytest.mark.parametrize("table", [0, 254])
def test_the_main_table_by_either_number(
    machine: Machine, config: Config, destination: str, table: int
) -> None:
    config["ipam"]["routes"] = [{"dst": destination, "table": table}]
    machine.add(config)
    machine.check(config)


def test_a_route_that_a_later_plugin_moved_to_another_table(machine: Machine, config: Config) -> None:
    machine.add(config)
    container = machine.container()
    subnets = (("-4", "10.10.0.1", "10.10.0.0/24"), ("-6", "fd00:10::1", "fd00:10::/64"))
    for family, gateway, subnet in subnets:
        container.run("ip", family, "route", "add", "default", "via", gateway, "dev", "eth0", "table", "100")
        container.run("ip", family, "route", "add", subnet, "dev", "eth0", "table", "100")
        for moved in ("default", subnet):
            container.run("ip", family, "route", "del", moved)
    machine.check(config)
    container.run("ip", "-4", "route", "del", "default", "table", "100")
    container.run("ip", "link", "add", "other", "up", "type", "bridge")
    container.run("ip", "route", "add", "default", "dev", "other", "table", "100")
    expect_failure(machine, config, "route to 0.0.0.0/0 is missing in the container")


def test_check_of_a_namespace_that_is_gone(machine: Machine, config: Config) -> None:
    with Namespace("short") as short:
        path = short.path
        machine.add(config, CNI_NETNS=path)
    error = machine.fail(config, command="CHECK", CNI_NETNS=path)
    assert "failed to open netns" in error["msg"] or "missing" in error["msg"]


def test_check_of_another_container(machine: Machine, config: Config) -> None:
    result = machine.add(config)
    error = machine.fail(config | {"prevResult": result}, "c2", command="CHECK")
    assert error["msg"] == "host-local: Failed to find address added by container c2"
