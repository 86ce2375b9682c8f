"""shibafu-bandwidth: how fast a container receives and sends, and what is there of its limits."""

import socket
import time
from errno import ENODEV
from itertools import pairwise
from json import loads
from typing import Any

import pytest

from netns.limited import attach, detach, find_delay_links, find_port, read_filters, read_qdiscs
from shibafu.netlink.socket import NetlinkSocket
from shibafu.netlink.traffic_control import (
    Filter,
    filter_del,
    qdisc_del_ingress,
    qdisc_del_root,
    qdisc_del_tbf,
)
from support.machine import Config, Machine
from support.remains import assert_clean
from support.throughput import MBIT, measure
from support.traffic import can_reach, open_socket

GATEWAY, CONTAINER = "10.10.0.1", "10.10.0.2"
# asm-generic/socket.h; more than others allow, for root.
SO_RCVBUFFORCE = 33
BOTH: Config = {"ingressRate": 20 * MBIT, "egressRate": 10 * MBIT}
CRI = {"IngressRate": 20 * MBIT, "IngressBurst": 4294967295, "EgressRate": 0, "EgressBurst": 0}


@pytest.mark.parametrize("way", ["ingress", "egress"])
@pytest.mark.parametrize(
    ("rate", "protocol"),
    [
        (10, "tcp"),
        pytest.param(100, "tcp", marks=pytest.mark.long),
        (1000, "tcp"),
        pytest.param(10, "udp", marks=pytest.mark.long),
        (100, "udp"),
    ],
)
def test_rate(machine: Machine, way: str, rate: int, protocol: str) -> None:
    config = attach(machine) | {f"{way}Rate": rate * MBIT}
    machine.add(config)
    inside = machine.container()
    ends = (machine.host, inside, CONTAINER) if way == "ingress" else (inside, machine.host, GATEWAY)
    assert measure(*ends, rate * MBIT, protocol) == pytest.approx(1, abs=0.1)


def test_limits_of_two_interfaces(machine: Machine) -> None:
    """Of one container, on one network: each has its own."""
    for ifname, rate in (("eth0", 10), ("eth1", 20)):
        machine.add(attach(machine, ifname=ifname, egressRate=rate * MBIT), ifname=ifname)
    assert len(find_delay_links(machine)) == 2
    inside = machine.container()
    inside.run("ip", "addr", "del", f"{CONTAINER}/24", "dev", "eth0")
    assert measure(inside, machine.host, GATEWAY, 20 * MBIT) == pytest.approx(1, abs=0.1)
    machine.delete(attach_config(), ifname="eth0")
    assert len(find_delay_links(machine)) == 1
    assert measure(inside, machine.host, GATEWAY, 20 * MBIT) == pytest.approx(1, abs=0.1)


def attach_config(**keys: Any) -> Config:
    """Return the network as it is at DEL, without prevResult."""
    return {"cniVersion": "1.0.0", "name": "net", "type": "bandwidth"} | keys


def test_result_names_the_link_that_delays(machine: Machine) -> None:
    config = attach(machine, **BOTH)
    result = machine.add(config)
    (name,) = find_delay_links(machine)
    link = machine.links()[name]
    assert result["interfaces"] == [
        *config["prevResult"]["interfaces"],
        {"name": name, "mac": link["address"]},
    ]
    assert {key: value for key, value in result.items() if key != "interfaces"} == {
        key: value for key, value in config["prevResult"].items() if key != "interfaces"
    }
    assert (link["mtu"], link["ifalias"], "UP" in link["flags"]) == (1500, "shibafu network net", True)


def test_again_changes_limits_in_place(machine: Machine) -> None:
    """And loses nothing: a queue that is full keeps what it holds."""
    config = attach(machine, **BOTH)
    first = machine.add(config)
    before = read_qdiscs(machine, find_port(config))
    assert machine.add(config | {"prevResult": first}) == first
    assert read_qdiscs(machine, find_port(config)) == before
    assert len(read_filters(machine, find_port(config))) == 1
    faster = config | {"egressRate": 100 * MBIT, "ingressRate": None}
    assert machine.add(faster | {"prevResult": first}) == first
    machine.check(faster)
    kinds = [(qdisc["dev"], qdisc["kind"]) for qdisc in read_qdiscs(machine, find_port(config))]
    assert sorted(kinds) == [("ifb", "tbf"), ("port", "ingress")]
    inside = machine.container()
    assert measure(inside, machine.host, GATEWAY, 100 * MBIT) == pytest.approx(1, abs=0.1)


def test_changing_limits_loses_no_packet(machine: Machine) -> None:
    """Of datagrams that come faster than they may, so that some of them wait while the limit is changed."""
    # Half of them come at once, and the others have room to wait.
    limit = {"egressRate": MBIT // 2, "egressBurst": 8 * 300_000}
    config = attach(machine) | limit
    result = machine.add(config)
    count, size = 550, 1000
    with (
        open_socket(machine.host, 4, socket.SOCK_DGRAM) as listener,
        open_socket(machine.container(), 4, socket.SOCK_DGRAM) as talker,
    ):
        listener.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 4 << 20)
        listener.bind((GATEWAY, 0))
        for number in range(count):
            talker.sendto(number.to_bytes(2, "big") + bytes(size), listener.getsockname())
            if number == 400:
                before = read_shaper(machine)
                assert before["backlog"] > 0
                machine.add(config | {"egressRate": MBIT // 2 + number, "prevResult": result})
                assert read_shaper(machine)["bytes"] >= before["bytes"]
        arrived = {int.from_bytes(listener.recv(2 * size)[:2], "big") for _ in range(count)}
    assert len(arrived) == count
    assert read_shaper(machine)["drops"] == 0


def read_shaper(machine: Machine) -> dict[str, Any]:
    """Return the only token bucket, and what it has counted."""
    listed = loads(machine.host.run("tc", "-s", "-j", "qdisc"))
    (found,) = [qdisc for qdisc in listed if qdisc["kind"] == "tbf"]
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("netns", [{}, {"CNI_NETNS": ""}], ids=str)
@pytest.mark.parametrize("knows_result", [True, False])
def test_del(machine: Machine, netns: Config, knows_result: bool) -> None:
    config = attach(machine, **BOTH)
    before = read_filters(machine, find_port(config))
    result = machine.add(config)
    machine.delete(attach_config(**{"prevResult": result} if knows_result else {}), **netns)
    assert find_delay_links(machine) == []
    assert read_qdiscs(machine, find_port(config)) == []
    assert read_filters(machine, find_port(config)) == before == []
    assert can_reach(machine.host, GATEWAY, machine.container())
    machine.delete(attach_config(), **netns)
    detach(machine)
    assert_clean(machine)


def test_del_after_the_container_s_link(machine: Machine) -> None:
    config = attach(machine, **BOTH)
    machine.add(config)
    detach(machine)
    assert len(find_delay_links(machine)) == 1
    machine.delete(config)
    assert_clean(machine)


def test_del_of_a_configuration_that_add_refuses(machine: Machine) -> None:
    machine.add(attach(machine, **BOTH))
    machine.delete(attach_config(ingressRate="fast", egressBurst=5, prevResult={"ips": 5}))
    assert find_delay_links(machine) == []


def test_what_others_have_set_up_stays(machine: Machine) -> None:
    config = attach(machine, **BOTH)
    port = find_port(config)
    machine.add(config)
    match = "prio 9 protocol ip u32 match ip dst 192.0.2.1 flowid 1:9"
    machine.host.run("tc", "filter", "add", "dev", port, "ingress", *match.split())
    machine.host.run(*f"tc qdisc replace dev {port} root handle 7: pfifo".split())
    machine.delete(config)
    assert "192.0.2.1" in machine.host.run("tc", "-p", "filter", "show", "dev", port, "ingress")
    assert [qdisc["kind"] for qdisc in read_qdiscs(machine, port)] == ["ingress", "pfifo"]
    assert read_filters(machine, port) == []


TBF = "tc qdisc replace dev {} root handle 1: tbf"
BREAKAGES = {
    "tc qdisc del dev {port} root": "Failed to find qdisc",
    f"{TBF.format('{port}')} rate 5mbit burst 64k latency 25ms": "Rate doesn't match",
    f"{TBF.format('{port}')} rate 20mbit burst 125000 limit 64k": "Limit doesn't match",
    f"{TBF.format('{port}')} rate 20mbit burst 64k limit 187500": "Buffer doesn't match",
    "tc qdisc replace dev {port} root pfifo": "Failed to find qdisc",
    "tc qdisc del dev {ifb} root": "Failed to find qdisc",
    f"{TBF.format('{ifb}')} rate 5mbit burst 64k latency 25ms": "Rate doesn't match",
    "ip link set {ifb} down": "is down",
    "ip link del {ifb}": "get ifb device: Link not found",
    "tc qdisc del dev {port} ingress": "is not limited",
}


def test_check_tells_what_was_changed_and_add_mends_it(machine: Machine) -> None:
    config = attach(machine, **BOTH | {"ingressBurst": 8 * 125_000})
    result = machine.add(config)
    attached = config | {"prevResult": result}
    machine.check(attached)
    names = {"port": find_port(config), "ifb": result["interfaces"][-1]["name"]}
    for command, told in BREAKAGES.items():
        machine.host.run(*command.format(**names).split())
        error = machine.fail(attached, command="CHECK")
        assert told in error["msg"]
        assert error["code"] == 104
        assert error["details"]
        assert machine.add(attached) == result
        machine.check(attached)


def test_a_qdisc_of_another_kind_gives_way(machine: Machine) -> None:
    """Some releases of the reference's plugin limit by htb, which has the same handle."""
    config = attach(machine, **BOTH)
    port = find_port(config)
    machine.host.run(*f"tc qdisc add dev {port} root handle 1: htb default 30".split())
    attached = config | {"prevResult": machine.add(config)}
    machine.check(attached)
    kinds = {(qdisc["dev"], qdisc["kind"]) for qdisc in read_qdiscs(machine, port)}
    assert kinds == {("port", "tbf"), ("port", "ingress"), ("ifb", "tbf")}


def test_check_changes_nothing(machine: Machine) -> None:
    config = attach(machine, **BOTH)
    attached = config | {"prevResult": machine.add(config)}
    before = machine.snapshot(), machine.host.run("tc", "qdisc"), machine.host.run("tc", "filter")
    machine.check(attached)
    assert (machine.snapshot(), machine.host.run("tc", "qdisc"), machine.host.run("tc", "filter")) == before


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        # What a configuration states itself goes before what the runtime hands over.
        ({"ingressRate": 8000, "runtimeConfig": {"bandwidth": {"egressRate": 8000}}}, [1000]),
        ({"ingressRate": 0, "runtimeConfig": {"bandwidth": {"egressRate": 8000}}}, []),
        ({"runtimeConfig": {"bandwidth": CRI}}, [2_500_000]),
        ({"runtimeConfig": {"bandwidth": None}}, []),
        ({}, []),
        # More than fits into 32 bits.
        ({"egressRate": 40_000 * MBIT}, [5_000_000_000]),
    ],
)
def test_what_is_limited(machine: Machine, keys: Config, expected: list[int]) -> None:
    config = attach(machine, **keys)
    result = machine.add(config)
    qdiscs = read_qdiscs(machine, find_port(config))
    assert [q["options"]["rate"] for q in qdiscs if q["kind"] == "tbf"] == expected
    assert (result == config["prevResult"]) == (not qdiscs or qdiscs[0]["dev"] == "port")
    machine.check(config | {"prevResult": result})


@pytest.mark.parametrize(("rate", "burst"), [(1, 65536), (8, 65536), (100, 625_000), (1000, 6_250_000)])
def test_burst_is_chosen(machine: Machine, rate: int, burst: int) -> None:
    """So much as comes in a twentieth of a second, and 64 KiB at least; then 25 ms."""
    config = attach(machine, ingressRate=rate * MBIT)
    machine.add(config)
    (qdisc,) = read_qdiscs(machine, find_port(config))
    assert qdisc["options"]["burst"] == pytest.approx(burst, rel=1e-4)
    assert qdisc["options"]["lat"] == pytest.approx(25_000, rel=0.02)


def test_gc(machine: Machine) -> None:
    """Frees what is not listed, of this network alone."""
    for container in ("c1", "c2"):
        machine.add(attach(machine, container, **BOTH), container)
    other = attach(machine, "c3", **BOTH) | {"name": "other"}
    machine.add(other, "c3")
    links = find_delay_links(machine)
    assert len(links) == 3
    latest = {"cniVersion": "1.1.0"}
    machine.call("GC", attach_config(**latest))
    assert find_delay_links(machine) == links
    machine.collect_garbage(attach_config(**latest), ("c2", "eth0"), ("c3", "eth0"))
    assert find_delay_links(machine) == links[1:]
    machine.collect_garbage(other | latest | {"prevResult": None})
    assert find_delay_links(machine) == links[1:2]
    machine.collect_garbage(attach_config(**latest))
    assert find_delay_links(machine) == []


def test_gc_of_many_takes_one_wait(machine: Machine) -> None:
    """The kernel waits for 20 ms at the end of each deletion, and of one of many together."""
    attach(machine)
    names = [f"bwp{number:012x}" for number in range(200)]
    lines = [f"link add {name} type ifb\nlink set {name} alias 'shibafu network net'\n" for name in names]
    batch = machine.directory / "batch"
    batch.write_text("".join(lines))
    machine.host.run("ip", "-batch", str(batch))
    assert sorted(find_delay_links(machine)) == names
    begin = time.monotonic()
    machine.collect_garbage(attach_config(cniVersion="1.1.0"))
    assert time.monotonic() - begin < 3
    assert find_delay_links(machine) == []


def test_gc_of_another_network(machine: Machine) -> None:
    """Frees what nothing leads to: its container may have been detached by a chain without this plugin."""
    for container in ("c1", "c2"):
        machine.add(attach(machine, container, **BOTH), container)
    links = find_delay_links(machine)
    detach(machine, "c1")
    machine.collect_garbage(attach_config(cniVersion="1.1.0", name="other"))
    assert find_delay_links(machine) == links[1:]


def test_a_failed_add_leaves_nothing(machine: Machine) -> None:
    config = attach(machine, **BOTH)
    result = machine.add(config)
    machine.delete(config)
    name = result["interfaces"][-1]["name"]
    machine.host.run("ip", "link", "add", name, "type", "bridge")
    error = machine.fail(config)
    assert "is not an ifb" in error["msg"]
    assert read_qdiscs(machine, find_port(config)) == []


def test_versions(machine: Machine) -> None:
    machine.plugin = machine.suite.directory / "bandwidth"
    supported = machine.call("VERSION", attach_config()).json["supportedVersions"]
    assert supported == ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"]
    assert all(older < newer for older, newer in pairwise(supported))
    error = machine.fail(attach_config(cniVersion="0.2.0"))
    assert (error["code"], error["msg"]) == (1, "incompatible CNI versions")


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"ingressRate": 0, "ingressBurst": 8000}, "if burst is set, rate must also be set"),
        ({"egressRate": 8000, "egressBurst": 8 * 0xFFFFFFFF}, "burst cannot be more than 4GB"),
        ({"egressRate": 7}, '"egressRate" is less than a byte: 7'),
        ({"egressRate": -1}, "cannot unmarshal number -1 into Go struct field NetConf.egressRate"),
        ({"egressRate": "1M"}, "cannot unmarshal string into Go struct field NetConf.egressRate"),
        ({"prevResult": None}, "must be called as chained plugin"),
    ],
)
def test_refusals(machine: Machine, keys: Config, said: str) -> None:
    error = machine.fail(attach(machine) | {"ingressRate": 8000} | keys)
    assert said in error["msg"]
    assert error["code"] == 7
    assert error["details"]


def test_status(machine: Machine) -> None:
    config = attach(machine) | {"cniVersion": "1.1.0", "prevResult": None}
    assert machine.call("STATUS", config | {"ingressRate": 8000}).status == 0
    error = machine.fail(config | {"ingressBurst": 8000}, command="STATUS")
    assert error["msg"] == "if burst is set, rate must also be set"


def test_a_link_that_has_gone_since_it_was_looked_up(machine: Machine) -> None:
    """A container's namespace takes its links along while DEL is at work."""
    gone = 4711
    rule = filter_del(gone, Filter("u32", 1, 1, []))
    removals = [qdisc_del_tbf(gone), qdisc_del_root(gone), qdisc_del_ingress(gone), rule]
    with machine.host.enter(), NetlinkSocket() as sock:
        assert set(sock.request_all(removals)) == {ENODEV}
