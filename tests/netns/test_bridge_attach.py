"""ADD: the result, and the state of the kernel behind it."""

from typing import Any

import pytest

from shibafu.cni.version import SUPPORTED
from support.machine import Config, Machine


def link_name(result: Config) -> str:
    """Return the name of the attachment's link on the host."""
    return str(result["interfaces"][1]["name"])


def test_nat_network_of_ipv4(machine: Machine) -> None:
    result = machine.add(machine.config())
    host, container = machine.links(), machine.links(machine.container())
    bridge, port, eth0 = host["br0"], host[link_name(result)], container["eth0"]
    assert result == {
        "cniVersion": "1.1.0",
        "interfaces": [
            {"name": "br0", "mac": bridge["address"], "mtu": 1500},
            {"name": port["ifname"], "mac": port["address"], "mtu": 1500},
            {"name": "eth0", "mac": eth0["address"], "mtu": 1500, "sandbox": machine.container().path},
        ],
        "ips": [{"address": "10.10.0.2/24", "gateway": "10.10.0.1", "interface": 2}],
        "routes": [{"dst": "0.0.0.0/0", "gw": "10.10.0.1"}],
    }
    assert bridge["linkinfo"]["info_kind"] == "bridge"
    assert port["master"] == "br0"
    assert port["linkinfo"]["info_slave_data"]["state"] == "forwarding"
    assert "UP" in bridge["flags"]
    assert "UP" in eth0["flags"]
    assert eth0["link_index"] == port["ifindex"]
    assert machine.addresses("br0") == {"10.10.0.1/24"}
    assert machine.addresses("eth0", machine.container()) == {"10.10.0.2/24"}
    assert eth0["addr_info"][0]["broadcast"] == "10.10.0.255"
    assert machine.leases() == {"net/10.10.0.2"}
    [default] = machine.routes(machine.container(), "route", "show", "default")
    assert (default["gateway"], default["dev"]) == ("10.10.0.1", "eth0")


def test_nat_network_of_ipv6(machine: Machine) -> None:
    result = machine.add(machine.config("fd00:10::/64"))
    assert result["ips"] == [{"address": "fd00:10::2/64", "gateway": "fd00:10::1", "interface": 2}]
    assert result["routes"] == [{"dst": "::/0", "gw": "fd00:10::1"}]
    assert machine.addresses("br0") == {"fd00:10::1/64"}
    assert machine.addresses("eth0", machine.container()) == {"fd00:10::2/64"}
    [default] = machine.routes(machine.container(), "-6", "route", "show", "default")
    assert (default["gateway"], default["dev"]) == ("fd00:10::1", "eth0")
    # It is usable at once: nobody else can have an address that IPAM gave out.
    for link, namespace in (("br0", machine.host), ("eth0", machine.container())):
        addresses = machine.links(namespace)[link]["addr_info"]
        assert not any(address.get("tentative") for address in addresses if address["scope"] != "link")
    assert machine.host.run("cat", "/proc/sys/net/ipv6/conf/all/forwarding") == "1\n"


def test_ipv6_where_new_links_have_it_switched_off(machine: Machine) -> None:
    # Docker and many sysctl.d files do so.
    for namespace in (machine.host, machine.container()):
        namespace.run("sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1")
    machine.add(machine.config("fd00:10::/64"))
    assert machine.addresses("br0") == {"fd00:10::1/64"}
    assert machine.addresses("eth0", machine.container()) == {"fd00:10::2/64"}


def test_dual_stack(machine: Machine) -> None:
    config = machine.config("10.10.0.0/24", "fd00:10::/64")
    result = machine.add(config)
    assert [(ip["address"], ip["gateway"]) for ip in result["ips"]] == [
        ("10.10.0.2/24", "10.10.0.1"),
        ("fd00:10::2/64", "fd00:10::1"),
    ]
    assert result["routes"] == [{"dst": "0.0.0.0/0", "gw": "10.10.0.1"}, {"dst": "::/0", "gw": "fd00:10::1"}]
    assert machine.addresses("br0") == {"10.10.0.1/24", "fd00:10::1/64"}
    machine.check(config)


def test_several_subnets_of_one_family(machine: Machine) -> None:
    config = machine.config("10.10.0.0/24", "10.20.0.0/24")
    result = machine.add(config)
    assert [ip["address"] for ip in result["ips"]] == ["10.10.0.2/24", "10.20.0.2/24"]
    assert result["routes"] == [{"dst": "0.0.0.0/0", "gw": "10.10.0.1"}]
    assert machine.addresses("br0") == {"10.10.0.1/24", "10.20.0.1/24"}
    machine.check(config)
    # the second container finds both gateways in place
    assert machine.add(config, "c2")["ips"][1]["address"] == "10.20.0.3/24"


def test_a_second_range_of_a_pool_brings_its_gateway(machine: Machine) -> None:
    config = machine.config()
    config["ipam"]["ranges"] = [
        [{"subnet": "10.10.0.0/24", "rangeEnd": "10.10.0.2"}, {"subnet": "10.20.0.0/24"}]
    ]
    assert machine.add(config)["ips"][0]["address"] == "10.10.0.2/24"
    # The bridge of the first subnet has to be the gateway of the second as well: the reference's rule is
    # that other IPv4 addresses are a conflict, and says so.
    error = machine.fail(config, "c2")
    assert error["msg"] == (
        'failed to set bridge addr: "br0" already has an IP address different from 10.20.0.1/24'
    )
    assert machine.leases() == {"net/10.10.0.2"}


@pytest.mark.parametrize("version", SUPPORTED)
def test_every_version_of_the_specification(machine: Machine, version: str) -> None:
    config = machine.config(cniVersion=version, dns={"nameservers": ["10.10.0.1"]})
    result = machine.add(config)
    assert result["cniVersion"] == version
    assert result["dns"] == {"nameservers": ["10.10.0.1"]}
    if version in SUPPORTED[:2]:
        assert set(result) == {"cniVersion", "ip4", "dns"}
        assert result["ip4"] == {
            "ip": "10.10.0.2/24",
            "gateway": "10.10.0.1",
            "routes": [{"dst": "0.0.0.0/0", "gw": "10.10.0.1"}],
        }
    else:
        assert result["ips"][0].get("version") == ("4" if version in SUPPORTED[2:5] else None)
        assert all(("mtu" in interface) == (version == "1.1.0") for interface in result["interfaces"])
    if version in SUPPORTED[4:]:
        machine.check(config)
    machine.delete(config)
    assert machine.leases() == set()


@pytest.mark.parametrize("version", ["0.3.0", "0.4.0", "1.0.0", "1.1.0"])
@pytest.mark.parametrize("ipam", [None, {}])
def test_layer_2(machine: Machine, version: str, ipam: Config | None) -> None:
    config = machine.layer2(cniVersion=version, ipam=ipam)
    result = machine.add(config)
    assert [interface["name"] for interface in result["interfaces"]] == ["br0", link_name(result), "eth0"]
    assert "ips" not in result
    assert "UP" in machine.links(machine.container())["eth0"]["flags"]
    assert machine.addresses("br0") == set()
    assert machine.rules() == []
    if version != "0.3.0":
        machine.check(config)
    machine.delete(config)
    assert machine.remembered() == set()


@pytest.mark.parametrize("version", SUPPORTED[:2])
def test_layer_2_of_a_version_that_has_no_result_for_it(machine: Machine, version: str) -> None:
    before = machine.snapshot()
    error = machine.fail(machine.layer2(cniVersion=version))
    assert error["msg"] == "cannot convert: no valid IP addresses"
    assert machine.snapshot() == before


def test_without_being_a_gateway(machine: Machine) -> None:
    config = machine.config(isDefaultGateway=False, ipMasq=False)
    result = machine.add(config)
    assert result["ips"] == [{"address": "10.10.0.2/24", "gateway": "10.10.0.1", "interface": 2}]
    assert "routes" not in result
    assert machine.addresses("br0") == set()
    assert machine.rules() == []
    assert machine.host.run("cat", "/proc/sys/net/ipv4/ip_forward") == "0\n"


def test_a_gateway_that_is_not_the_default_one(machine: Machine) -> None:
    result = machine.add(machine.config(isDefaultGateway=False, isGateway=True))
    assert "routes" not in result
    assert machine.addresses("br0") == {"10.10.0.1/24"}
    assert machine.routes(machine.container(), "route", "show", "default") == []
    assert machine.host.run("cat", "/proc/sys/net/ipv4/ip_forward") == "1\n"


@pytest.mark.parametrize("gateway", [None, "10.10.0.254"])
def test_a_default_route_of_ipam_is_not_doubled(machine: Machine, gateway: str | None) -> None:
    config = machine.config()
    config["ipam"]["routes"] = [{"dst": "0.0.0.0/0"} | ({"gw": gateway} if gateway else {})]
    result = machine.add(config)
    assert result["routes"] == [{"dst": "0.0.0.0/0", "gw": gateway or "10.10.0.1"}]
    [default] = machine.routes(machine.container(), "route", "show", "default")
    assert default["gateway"] == (gateway or "10.10.0.1")
    machine.check(config)


def test_properties_of_routes(machine: Machine) -> None:
    config = machine.config("10.10.0.0/24", "fd00:10::/64")
    config["ipam"]["routes"] = [
        {"dst": "192.168.1.0/24", "mtu": 1300, "advmss": 1200, "priority": 77},
        {"dst": "192.168.2.7/24", "gw": "10.10.0.9"},
        {"dst": "192.168.3.0/24", "table": 4711},
        {"dst": "192.168.4.0/24", "scope": 253},
        {"dst": "fd00:99::/64", "mtu": 1400, "priority": 88, "table": 200},
    ]
    result = machine.add(config)
    assert result["routes"][0] == {
        "dst": "192.168.1.0/24",
        "mtu": 1300,
        "advmss": 1200,
        "priority": 77,
    }
    container = machine.container()

    def route(*arguments: str) -> Any:
        [found] = machine.routes(container, *arguments)
        return found

    first = route("route", "show", "192.168.1.0/24")
    assert (first["gateway"], first["metric"]) == ("10.10.0.1", 77)
    assert first["metrics"] == [{"mtu": 1300, "advmss": 1200}]
    assert route("route", "show", "192.168.2.0/24")["gateway"] == "10.10.0.9"
    assert route("route", "show", "table", "4711")["dst"] == "192.168.3.0/24"
    link_scope = route("route", "show", "192.168.4.0/24")
    assert link_scope["scope"] == "link"
    last = route("-6", "route", "show", "table", "200")
    assert (last["dst"], last["gateway"], last["metric"]) == ("fd00:99::/64", "fd00:10::1", 88)
    assert last["metrics"] == [{"mtu": 1400}]
    machine.check(config)


def test_mtu(machine: Machine) -> None:
    config = machine.config(mtu=1400)
    result = machine.add(config)
    assert [interface["mtu"] for interface in result["interfaces"]] == [1400, 1400, 1400]
    assert machine.links()["br0"]["mtu"] == 1400
    assert machine.links()[link_name(result)]["mtu"] == 1400
    assert machine.links(machine.container())["eth0"]["mtu"] == 1400


def test_hairpin(machine: Machine) -> None:
    for hairpin in (False, True):
        config = machine.config(hairpinMode=hairpin)
        result = machine.add(config, f"h{hairpin:d}")
        port = machine.links()[link_name(result)]
        assert port["linkinfo"]["info_slave_data"]["hairpin"] is hairpin
        machine.check(config, f"h{hairpin:d}")


def test_promiscuous(machine: Machine) -> None:
    machine.add(machine.config())
    assert "PROMISC" not in machine.links()["br0"]["flags"]
    config = machine.config(promiscMode=True)
    machine.add(config, "c2")
    assert "PROMISC" in machine.links()["br0"]["flags"]
    machine.check(config, "c2")


def test_isolated_ports(machine: Machine) -> None:
    config = machine.config(portIsolation=True)
    result = machine.add(config)
    assert machine.links()[link_name(result)]["linkinfo"]["info_slave_data"]["isolated"] is True
    machine.check(config)


def test_a_container_interface_that_is_left_down(machine: Machine) -> None:
    config = machine.layer2(disableContainerInterface=True)
    machine.add(config)
    assert "UP" not in machine.links(machine.container())["eth0"]["flags"]
    machine.check(config)


RUNTIME, ARGS, CNI_ARGS = "02:00:00:00:00:01", "02:00:00:00:00:02", "02:00:00:00:00:03"


@pytest.mark.parametrize(
    ("keys", "args", "expected"),
    [
        ({"runtimeConfig": {"mac": RUNTIME}, "args": {"cni": {"mac": ARGS}}}, f"MAC={CNI_ARGS}", RUNTIME),
        ({"args": {"cni": {"mac": ARGS}}}, f"MAC={CNI_ARGS}", ARGS),
        ({}, f"MAC={CNI_ARGS}", CNI_ARGS),
        ({}, f"IgnoreUnknown=1;K8S_POD_NAME=p;MAC={CNI_ARGS}", CNI_ARGS),
        ({"runtimeConfig": {"mac": "02-00-00-00-00-0A"}}, "", "02:00:00:00:00:0a"),
    ],
)
def test_which_hardware_address_wins(machine: Machine, keys: Config, args: str, expected: str) -> None:
    # Without IPAM, whose own reading of CNI_ARGS does not know MAC.
    config = machine.layer2(**keys)
    env = {"CNI_ARGS": args}
    result = machine.add(config, **env)
    assert result["interfaces"][2]["mac"] == expected
    assert machine.links(machine.container())["eth0"]["address"] == expected
    machine.check(config, **env)


def test_a_container_keeps_its_hardware_address(machine: Machine) -> None:
    config = machine.config()
    first = machine.add(config)
    machine.delete(config)
    again = machine.add(config)
    assert first["interfaces"] == again["interfaces"]


def test_dns_of_the_network_replaces_that_of_ipam(machine: Machine) -> None:
    resolv_conf = machine.directory / "resolv.conf"
    resolv_conf.write_text("nameserver 10.0.0.53\nsearch example\n")
    config = machine.config()
    config["ipam"]["resolvConf"] = str(resolv_conf)
    assert machine.add(config)["dns"] == {"nameservers": ["10.0.0.53"], "search": ["example"]}
    config["dns"] = {"domain": "local"}
    assert machine.add(config, "c2")["dns"] == {"domain": "local"}
    config["dns"] = {"nameservers": []}
    assert machine.add(config, "c3")["dns"] == {"nameservers": ["10.0.0.53"], "search": ["example"]}


def test_a_container_twice_on_one_network(machine: Machine) -> None:
    config = machine.config(isDefaultGateway=False, isGateway=True)
    first, second = machine.add(config), machine.add(config, ifname="eth1")
    assert first["ips"][0]["address"] != second["ips"][0]["address"]
    rules = machine.rules()
    machine.check(config)
    machine.check(config, ifname="eth1")
    machine.delete(config)
    assert machine.rules() == rules
    machine.check(config, ifname="eth1")
    assert "eth0" not in machine.links(machine.container())
    machine.delete(config, ifname="eth1")
    assert machine.rules() == []
    assert machine.leases() == set()


def test_two_networks_on_one_bridge(machine: Machine) -> None:
    one = machine.config("10.10.0.0/24", name="one")
    two = machine.config(
        "10.20.0.0/24", name="two", forceAddress=True, isDefaultGateway=False, isGateway=False
    )
    machine.add(one)
    machine.add(two, ifname="eth1")
    machine.check(one)
    machine.check(two, ifname="eth1")
    machine.delete(one)
    assert {rule for rule in machine.rules() if "10.10.0.0" in rule} == set()
    machine.check(two, ifname="eth1")
    machine.delete(two, ifname="eth1")
    assert machine.rules() == []


def test_two_networks_that_differ_in_nothing_but_the_name(machine: Machine) -> None:
    one, two = machine.config(name="one"), machine.config("10.20.0.0/24", name="two", bridge="br1")
    machine.add(one)
    machine.add(two, "c2")
    machine.delete(one)
    machine.check(two, "c2")


def test_keys_of_any_case(machine: Machine) -> None:
    config = machine.config(MTU=1400, hairpinmode=True)
    result = machine.add(config)
    assert result["interfaces"][2]["mtu"] == 1400
    assert machine.links()[link_name(result)]["linkinfo"]["info_slave_data"]["hairpin"] is True


def test_unknown_keys_are_passed_over(machine: Machine) -> None:
    config = machine.config(
        capabilities={"mac": True}, args={"labels": [1]}, disableCheck=True, **{"cni.dev/attachments": []}
    )
    machine.add(config)
    machine.check(config)


def test_vlans_need_a_kernel_that_filters_them(machine: Machine) -> None:
    before = machine.snapshot()
    answer = machine.call("ADD", machine.config(vlan=100))
    if answer.status == 0:
        assert {"br0.100"} <= set(machine.links())
    else:
        assert "VLAN filtering" in answer.json["msg"]
        assert "CONFIG_BRIDGE_VLAN_FILTERING" in answer.json["details"]
        assert machine.snapshot() == before


def test_nothing_is_written_to_stderr(machine: Machine) -> None:
    config = machine.config("10.10.0.0/24", "fd00:10::/64")
    for command in ("ADD", "DEL", "DEL"):
        assert machine.call(command, config).stderr == ""


def test_a_router_advertisement_of_a_container_is_not_for_the_host(machine: Machine) -> None:
    result = machine.add(machine.config("fd00:10::/64"))
    for link in ("br0", link_name(result)):
        assert machine.host.run("cat", f"/proc/sys/net/ipv6/conf/{link}/accept_ra") == "0\n"
