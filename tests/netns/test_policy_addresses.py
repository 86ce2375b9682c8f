"""Policies, and containers that send from other addresses than theirs, or to such as no policy knows."""

import socket

import pytest

from netns.policy_cases import match, policy
from netns.policy_machine import DB_FROM_WEB, LabelledContainers, apply
from netns.policy_packets import hears, reaches_link_local
from support.traffic import arrives


def send_from(cluster: LabelledContainers, name: str, source: str, destination: str) -> bool:
    """Return whether a datagram arrives that a container sends from an address which it gives itself."""
    container = cluster.machine.container(name)
    length, flags = ("64", ["nodad"]) if ":" in source else ("24", [])
    container.run("ip", "addr", "replace", f"{source}/{length}", "dev", "eth0", *flags)
    address = next(one for one in cluster.addresses[destination] if (":" in one) == (":" in source))
    arrived = arrives(cluster.machine.container(destination), address, container, source)
    container.run("ip", "addr", "del", f"{source}/{length}", "dev", "eth0")
    return bool(arrived)


@pytest.mark.parametrize("source", ["10.10.0.99", "fd00:10::99"])
def test_a_container_cannot_pass_for_another(cluster: LabelledContainers, source: str) -> None:
    cluster.attach("db", "web", "other")
    assert send_from(cluster, "db", source, "other")
    apply(cluster.machine, DB_FROM_WEB)
    assert not send_from(cluster, "db", source, "other")
    assert cluster.reaches("db", "other") == [True, True]
    assert send_from(cluster, "other", source, "web")  # no policy is for it
    cluster.machine.host.run("nft", "delete", "table", "bridge", "shibafu_policy")
    assert "addresses" in cluster.find_fault("db")


@pytest.mark.parametrize("is_checked", [True, False])
def test_a_neighbour_is_not_told_lies(cluster: LabelledContainers, is_checked: bool) -> None:
    """ARP says where an address is: the neighbour would send to the one that claims it."""
    cluster.config["ipspoofchk"] = is_checked
    apply(cluster.machine, DB_FROM_WEB)
    cluster.attach("db", "web", "other")
    address, _ = cluster.addresses["web"]
    other = cluster.machine.container("other")
    other.run("sysctl", "-qw", "net.ipv4.neigh.eth0.locktime=0")
    assert cluster.reaches("other", "web") == [True, True]
    with cluster.machine.container("db").enter():
        sender = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    with sender:
        sender.bind(("eth0", 0x0806))
        mac = sender.getsockname()[4]
        claim = bytes.fromhex("0001080006040001") + 2 * (mac + socket.inet_aton(address))
        sender.send(b"\xff" * 6 + mac + b"\x08\x06" + claim)
    assert (mac.hex(":") not in other.run("ip", "neigh", "show", address)) == is_checked


def test_addresses_are_not_checked_where_that_is_turned_off(cluster: LabelledContainers) -> None:
    cluster.config["ipspoofchk"] = False
    apply(cluster.machine, DB_FROM_WEB)
    cluster.attach("db", "other")
    assert send_from(cluster, "db", "10.10.0.99", "other")
    assert cluster.reaches("other", "db") == [False, False]


@pytest.mark.parametrize("is_checked", [True, False])
@pytest.mark.parametrize("direction", ["Ingress", "Egress"])
def test_no_way_leads_round_policies_by_link_local_addresses(
    cluster: LabelledContainers, direction: str, is_checked: bool
) -> None:
    """Each container has one, which no policy knows, and the others find it by asking all neighbours."""
    cluster.config["ipspoofchk"] = is_checked
    cluster.attach("db", "web", "other")
    db, web, other = map(cluster.machine.container, ("db", "web", "other"))
    ends = (other, db) if direction == "Ingress" else (db, other)
    assert reaches_link_local(*ends)
    apply(cluster.machine, policy([], [], match(app="db"), "default", types=[direction]))
    assert not reaches_link_local(*ends)
    assert reaches_link_local(web, other)  # no policy is for these
    assert reaches_link_local(cluster.machine.host, db, cluster.config["bridge"])
    assert cluster.reaches(*(("db", "other") if direction == "Ingress" else ("other", "db"))) == [True, True]
    cluster.check("db")
    cluster.machine.host.run("nft", "flush", "chain", "bridge", "shibafu_policy", "forward")
    assert reaches_link_local(*ends)
    assert "addresses" in cluster.find_fault("db")


@pytest.mark.parametrize("address", ["255.255.255.255", "10.10.0.255", "224.0.0.1", "ff02::1"])
def test_no_way_leads_round_policies_by_addresses_of_many(cluster: LabelledContainers, address: str) -> None:
    """What answers to them would from then on be connected: by a reply, which always passes."""
    cluster.attach("db", "web", "other")
    db, web, other = map(cluster.machine.container, ("db", "web", "other"))
    if ":" not in address:  # what is sent to that has a link-local source
        apply(cluster.machine, policy([{}], target=match(app="db"), namespace="default"))
    assert hears(other, db, address)
    apply(cluster.machine, DB_FROM_WEB)
    assert not hears(other, db, address)
    assert hears(other, web, address)  # no policy is for these
    cluster.check("db")


def test_the_check_of_addresses_goes_with_the_container(cluster: LabelledContainers) -> None:
    def list_check() -> str:
        return cluster.machine.host.run("nft", "list", "table", "bridge", "shibafu_policy")

    apply(cluster.machine, DB_FROM_WEB)
    empty = list_check()
    cluster.attach("db", "web")
    assert list_check() != empty
    cluster.delete("db")
    assert list_check() == empty
