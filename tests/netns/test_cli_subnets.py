"""Subnets that networks get, and those that are refused, beside the links and routes that are there."""

from json import loads

import pytest

from support.command import CommandLine
from support.namespaces import Namespace
from support.traffic import can_reach


def test_a_free_subnet_is_chosen_and_overlaps_are_refused(shibafu: CommandLine, host: Namespace) -> None:
    host.run("ip", "link", "add", "uplink", "type", "veth", "peer", "far")
    host.run("ip", "link", "set", "uplink", "up")
    host.run("ip", "link", "set", "far", "up")
    host.run("ip", "route", "add", "172.20.0.0/23", "dev", "uplink")
    first = shibafu.json("network create one")["subnets"]
    second = shibafu.json("network create two --ipv6")["subnets"]
    assert first == ["172.20.2.0/24"]
    assert second[0] == "172.20.3.0/24"
    assert second[1].startswith("fd")
    said = shibafu.fail("network create three --subnet 172.20.0.0/24")
    assert "overlaps with 172.20.0.0/23, to which a route leads through uplink" in said
    assert "of network one" in shibafu.fail("network create three --subnet 172.20.2.128/25")
    assert "already" in shibafu.fail("network create one", status=2)
    assert "belongs to network one" in shibafu.fail("network create three --bridge br-one")
    assert "not a bridge" in shibafu.fail("network create three --bridge uplink")
    assert "not a valid name for a network" in shibafu.fail("network create -- -x/y", status=2)
    assert shibafu("network ls --quiet") == "one\ntwo\n"


@pytest.fixture
def uplink(host: Namespace) -> None:
    """Give the host a link to the world, where 192.0.2.2 and 2001:db8:ffff::2 are gateways."""
    host.run("ip", "link", "add", "uplink", "type", "veth", "peer", "far")
    for link in ("uplink", "far"):
        host.run("ip", "link", "set", link, "up")
    host.run("ip", "addr", "add", "192.0.2.1/24", "dev", "uplink")
    host.run("ip", "addr", "add", "2001:db8:ffff::1/64", "dev", "uplink", "nodad")


def test_a_default_route_in_pieces_is_one(shibafu: CommandLine, host: Namespace, uplink: None) -> None:
    """As VPNs make it: OpenVPN by a gateway, WireGuard by the link alone."""
    host.run("ip", "tuntap", "add", "tun0", "mode", "tun")
    host.run("ip", "link", "set", "tun0", "up")
    for destination, way in (
        ("0.0.0.0/1", "via 192.0.2.2"),
        ("128.0.0.0/1", "via 192.0.2.2"),
        ("0.0.0.0/2", "dev tun0"),
        ("64.0.0.0/2", "dev tun0"),
        ("8.0.0.0/6", "dev uplink"),
        ("2000::/3", "via 2001:db8:ffff::2"),
        ("fc00::/7", "via 2001:db8:ffff::2"),
        ("::/1", "dev tun0"),
    ):
        host.run("ip", "route", "add", destination, *way.split())
    for line in ("one", "two --subnet 10.64.0.0/24", "three --ipv6", "four --subnet fd00:1::/64"):
        assert shibafu.run("network", "create", *line.split())[1] == "", line
    subnets = [network["subnets"][0]["subnet"] for network in shibafu.json("network ls")]
    assert "172.20.1.0/24" in subnets


@pytest.mark.parametrize(
    "way",
    [
        "via 192.0.2.2",
        "nexthop via 192.0.2.2 nexthop via 192.0.2.3",
        "via inet6 2001:db8:ffff::2",
        "dev tun0",
    ],
)
def test_a_wide_route_to_elsewhere_leaves_room_for_a_subnet(
    shibafu: CommandLine, host: Namespace, web: Namespace, uplink: None, way: str
) -> None:
    host.run("ip", "tuntap", "add", "tun0", "mode", "tun")
    host.run("ip", "link", "set", "tun0", "up")
    for destination in ("172.16.0.0/12", "10.0.0.0/8"):
        host.run("ip", "route", "add", destination, *way.split())
    host.run("ip", "route", "add", "blackhole", "10.65.0.0/16")
    host.run("ip", "route", "add", "10.67.0.0/24", *way.split())
    _, said = shibafu.run("network", "create", "one", "--subnet", "10.65.0.0/24")
    assert said.startswith("shibafu: warning: subnet 10.65.0.0/24 is a part of 10.")
    address = shibafu.connect("one", web)
    assert can_reach(web, address, host)
    for subnet in ("10.67.0.0/24", "10.67.0.0/23", "10.67.0.0/16"):
        assert "overlaps with 10.67.0.0/24" in shibafu.fail(f"network create two --subnet {subnet}")
    # Where there is no other left, one of these is chosen, with the warning.
    out, said = shibafu.run("network", "create", "two", "--format", "json")
    assert loads(out)["subnets"] == ["172.20.1.0/24"]
    assert "is a part of 172.16.0.0/12" in loads(said)["warning"]
    declared = "networks:\n  three: {subnets: [10.68.0.0/24]}\n"
    _, said = shibafu.run("network", "apply", "-f", "-", stdin=declared)
    assert "warning: subnet 10.68.0.0/24 is a part of 10.0.0.0/8" in said
    assert shibafu.run("network", "apply", "-f", "-", stdin=declared)[1] == ""


def test_an_uplink_in_the_subnet_is_refused_for_its_address(
    shibafu: CommandLine, host: Namespace, uplink: None
) -> None:
    """The subnet may overlap here: either the bridge gets the address, or nobody does."""
    line = "network create lan --subnet 192.0.2.0/24 --ip-range 192.0.2.10-192.0.2.99 --uplink uplink"
    said = shibafu.fail(line)
    assert "uplink uplink has the address 192.0.2.1/24" in said
    assert "--driver-opt moveAddresses=true" in said
    assert "overlaps with" in shibafu.fail(line.replace("--uplink uplink", ""))
    host.run("ip", "addr", "del", "192.0.2.1/24", "dev", "uplink")
    shibafu(line)


def test_a_subnet_that_a_link_is_in_is_refused(shibafu: CommandLine, host: Namespace, uplink: None) -> None:
    host.run("ip", "tuntap", "add", "tun0", "mode", "tun")
    host.run("ip", "link", "set", "tun0", "up")
    host.run("ip", "link", "add", "down0", "type", "bridge")
    for link, address in (("uplink", "10.66.0.5/16"), ("tun0", "10.67.0.5/16"), ("down0", "10.68.0.5/16")):
        host.run("ip", "addr", "add", address, "dev", link)
        for subnet in (address.replace("5/16", "0/24"), address.replace("0.5/16", "7.0/25")):
            said = shibafu.fail(f"network create one --subnet {subnet}")
            assert f"subnet {subnet} overlaps with {address} of link {link}" in said
    host.run("ip", "addr", "add", "10.69.0.7/32", "dev", "lo")
    assert "10.69.0.7/32 of link lo" in shibafu.fail("network create one --subnet 10.69.0.0/24")


def test_a_network_in_use_does_not_collide_with_itself(
    shibafu: CommandLine, host: Namespace, web: Namespace
) -> None:
    declared = "networks:\n  blue: {subnets: [10.66.0.0/24]}\n  green: {driver-opts: {vlan: 7}}\n"
    shibafu("network apply -f -", stdin=declared)
    shibafu.connect("blue", web)
    # As its first container makes it, where the kernel has VLANs.
    host.run("ip", "link", "add", "br-green.7", "type", "bridge")
    host.run("ip", "link", "set", "br-green.7", "up")
    host.run("ip", "addr", "add", "172.20.1.1/24", "dev", "br-green.7")
    assert shibafu("network apply -f -", stdin=declared).count("= keep") == 2
    stated = declared.replace("green: {", "green: {subnets: [172.20.1.0/24], ")
    assert shibafu("network apply -f -", stdin=stated).count("= keep") == 2
