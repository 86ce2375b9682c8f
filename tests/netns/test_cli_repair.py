"""`shibafu network repair`: what was taken away by force is there again, and no container was restarted."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from json import dumps, loads
from pathlib import Path

import pytest

from netns.blue_network import BlueNetwork
from shibafu.cni.names import calc_host_veth
from support.traffic import can_reach
from support.waiting import wait_for


def test_nothing_is_left_of_bridge_and_rules(network: BlueNetwork) -> None:
    network.create()
    host = network.host
    (before,) = loads(host.run("ip", "-j", "link", "show", "br-blue"))
    container = loads(network.web.run("ip", "-j", "addr", "show", "eth0"))[0]["address"]
    host.run("ip", "link", "del", "br-blue")
    host.run("iptables", "-t", "nat", "-F")
    host.run("iptables", "-F")
    assert not can_reach(network.db, "10.66.0.3", network.web)
    faults = network.repair()
    assert faults[0] == "bridge br-blue is missing"
    assert faults[-1] == "firewall rules of network blue are missing"
    assert sum("is not a port of bridge" in fault for fault in faults) == 2
    (after,) = loads(host.run("ip", "-j", "link", "show", "br-blue"))
    assert after["address"] == before["address"]
    assert after["ifindex"] != before["ifindex"]
    assert loads(network.web.run("ip", "-j", "addr", "show", "eth0"))[0]["address"] == container


def test_what_the_kernel_refuses_to_show_stops_nothing(network: BlueNetwork) -> None:
    """The kernel looks up no link of a longer name than it has room for, such as this bridge's in a VLAN."""
    bridge = "bridge-of-blues"
    network.create(f"--bridge {bridge}")
    file = network.shibafu.conf_dir / "blue.conflist"
    config = loads(file.read_text())
    config["plugins"][0]["vlan"] = 100
    file.write_text(dumps(config))
    network.host.run("ip", "link", "set", bridge, "down")
    faults = network.shibafu.json("network repair --dry-run", status=1)["faults"]
    assert {"what": f"bridge {bridge} is down", "advice": "", "repaired": False}.items() <= faults[0].items()
    refused = [fault for fault in faults if fault["what"].startswith(f"cannot look up {bridge}.100: ")]
    assert [(fault["containerID"], "not checked" in fault["advice"]) for fault in refused] == [("", True)]
    shown = network.shibafu.json("network inspect blue")[0]["resources"]
    assert refused[0]["what"] in [fault["what"] for each in shown for fault in each["faults"]]
    faults = network.shibafu.json("network repair", status=1)["faults"]
    assert [fault["repaired"] for fault in faults if fault["what"] == f"bridge {bridge} is down"] == [True]
    assert [fault["repaired"] for fault in faults if fault["what"] == refused[0]["what"]] == [False]


@pytest.mark.parametrize(
    "table", ["nat", *(pytest.param(one, marks=pytest.mark.long) for one in ("filter", "mangle"))]
)
def test_a_table_was_flushed_and_its_chains_deleted(network: BlueNetwork, table: str) -> None:
    network.create()
    before = network.host.run("iptables", "-t", table, "-S")
    network.host.run("iptables", "-t", table, "-F")
    network.host.run("iptables", "-t", table, "-X")
    assert network.repair() == ["firewall rules of network blue are missing"]
    assert sorted(network.host.run("iptables", "-t", table, "-S").splitlines()) == sorted(before.splitlines())


@pytest.mark.parametrize(
    ("end", "mtu", "size"),
    [pytest.param("host", 1300, 1372, marks=pytest.mark.long), ("container", 9000, 4000)],
)
def test_ends_of_a_link_whose_mtus_differ(network: BlueNetwork, end: str, mtu: int, size: int) -> None:
    """Larger packets than the host's end takes are lost without a word, fragmented or not."""
    network.create()
    port = calc_host_veth("blue", network.web.name, "eth0")
    place, link = (network.host, port) if end == "host" else (network.web, "eth0")
    ping = ("ping", "-qn", "-c", "1", "-W", "1", "-M", "dont", "-s", str(size), "10.66.0.1")
    place.run("ip", "link", "set", link, "mtu", str(mtu))
    with pytest.raises(AssertionError, match="100% packet loss"):
        network.web.run(*ping)
    (fault,) = network.repair()
    assert fault.startswith("interface eth0 has an MTU of ")
    network.web.run(*ping)
    # As a later plugin of the chain may do.
    network.web.run("ip", "link", "set", "eth0", "mtu", "1300")
    network.check()


def test_single_things_are_missing(network: BlueNetwork) -> None:
    network.create("--driver-opt", "hairpinMode=true")
    network.host.run("ip", "addr", "flush", "dev", "br-blue")
    assert network.repair() == ["gateway address 10.66.0.1/24 is missing on br-blue"]
    network.host.run("ip", "link", "set", "br-blue", "down")
    assert "bridge br-blue is down" in network.repair()
    port = loads(network.host.run("ip", "-j", "link", "show", "master", "br-blue"))[0]["ifname"]
    network.host.run("ip", "link", "set", port, "nomaster")
    (fault,) = network.repair()
    assert fault == f"link {port} is not a port of bridge br-blue"
    network.host.run("ip", "link", "set", port, "type", "bridge_slave", "hairpin", "off")
    assert network.repair() == [f"hairpin mode of link {port} is off"]
    network.host.run("sysctl", "-qw", "net.ipv4.ip_forward=0")
    assert network.repair() == ["forwarding of IPv4 is turned off on the host"]


@pytest.mark.parametrize("option", ["", "--driver-opt forceAddress=true"])
def test_an_address_in_the_gateways_way_is_named_and_left(network: BlueNetwork, option: str) -> None:
    """An administrator's: only ADD goes by forceAddress."""
    network.create(option)
    host = network.host
    host.run("ip", "addr", "flush", "dev", "br-blue")
    host.run("ip", "addr", "add", "10.99.0.1/24", "dev", "br-blue")
    host.run("sysctl", "-qw", "net.ipv4.ip_forward=0")
    conflict, forwarding = network.shibafu.json("network repair", status=1)["faults"]
    missing = "gateway address 10.66.0.1/24 is missing on br-blue"
    assert conflict["what"] == f"{missing}: 10.99.0.1/24 conflicts with it"
    assert "ip addr del 10.99.0.1/24 dev br-blue" in conflict["advice"]
    assert (conflict["repaired"], forwarding["repaired"]) == (False, True)
    assert missing in network.shibafu.run("network", "check", status=1)[0]
    (address,) = loads(host.run("ip", "-j", "-4", "addr", "show", "br-blue"))[0]["addr_info"]
    assert address["local"] == "10.99.0.1"
    host.run(*conflict["advice"].split("`")[1].split())
    assert network.repair() == [missing]


def test_the_order_of_forward_is_mended(network: BlueNetwork) -> None:
    """Another program's chain, whose drops are to hold, was put behind the network's."""
    network.create()
    network.host.run("iptables", "-N", "DOCKER-USER")
    network.host.run("iptables", "-A", "FORWARD", "-j", "DOCKER-USER")
    assert network.repair() == ["firewall rules of network blue come before those of chain DOCKER-USER"]


def test_mac_spoof_checks_are_mended(network: BlueNetwork) -> None:
    network.create("--no-masq --driver-opt macspoofchk=true")
    network.host.run("nft", "flush", "ruleset")
    faults = network.repair()
    assert len(faults) == 2
    assert all(fault.startswith("the MAC spoof check of port veth") for fault in faults)


def test_a_spoof_check_that_a_repair_has_made_goes_with_its_container(network: BlueNetwork) -> None:
    network.create("--no-masq")
    (config,) = network.shibafu.conf_dir.glob("*blue*")
    config.write_text(
        config.read_text().replace('"isDefaultGateway"', '"macspoofchk": true, "isDefaultGateway"')
    )
    assert len(network.repair()) == 2
    for container in (network.web, network.db):
        network.shibafu(f"network disconnect blue {container.name}")
    assert network.host.run("nft", "list", "tables") == ""


def test_containers_stay_on_the_bridge_that_they_are_on(network: BlueNetwork) -> None:
    network.create()
    (config,) = network.shibafu.conf_dir.glob("*blue*")
    config.write_text(config.read_text().replace("br-blue", "br-new"))
    network.host.run("ip", "link", "set", "br-blue", "down")
    for left in ("bridge br-blue is down", "is on bridge br-blue, but the network's bridge is now br-new"):
        told, _ = network.shibafu.run("network", "repair", "--dry-run", status=1)
        assert left in told
        network.shibafu.run("network", "repair", status=1)
        assert can_reach(network.db, "10.66.0.3", network.web)
        assert can_reach(network.host, "10.66.0.1", network.web)
    assert "br-new" not in network.host.run("ip", "-br", "link")


def test_a_dry_run_where_records_are_read_only(network: BlueNetwork) -> None:
    network.create()
    network.host.run("ip", "link", "set", "br-blue", "down")
    records = network.shibafu.records.parent
    read_only = f"mount --bind {records} {records} && mount -o remount,bind,ro {records}"
    process = network.shibafu.start("network", "repair", "--dry-run", prepare=read_only)
    told, _ = process.communicate(timeout=60)
    assert "bridge br-blue is down" in told


def test_a_link_was_deleted_and_comes_again_with_its_addresses(network: BlueNetwork) -> None:
    network.create()
    before = loads(network.web.run("ip", "-j", "addr", "show", "eth0"))[0]
    network.web.run("ip", "link", "del", "eth0")
    (fault,) = network.repair()
    assert fault.endswith("is missing")
    after = loads(network.web.run("ip", "-j", "addr", "show", "eth0"))[0]
    assert after["address"] == before["address"]
    assert after["addr_info"][0]["local"] == before["addr_info"][0]["local"]


def test_containers_that_are_gone_are_not_waited_for(network: BlueNetwork) -> None:
    network.create()
    network.db.delete()
    network.host.run("iptables", "-t", "nat", "-F")
    assert [f["what"] for f in network.shibafu.json("network repair")["faults"]] == [
        "firewall rules of network blue are missing"
    ]


def test_results_were_lost_but_records_were_not(network: BlueNetwork) -> None:
    network.create()
    for path in network.shibafu.cache_dir.iterdir():
        path.unlink()
    network.host.run("ip", "link", "del", "br-blue")
    faults = network.shibafu.json("network repair")["faults"]
    assert all(fault["repaired"] for fault in faults)
    assert can_reach(network.db, "10.66.0.3", network.web)
    assert can_reach(network.host, "10.66.0.1", network.web)


def test_both_families_come_back(network: BlueNetwork) -> None:
    network.create("--ipv6")
    address = next(
        a["local"]
        for a in loads(network.db.run("ip", "-j", "-6", "addr", "show", "eth0"))[0]["addr_info"]
        if a["scope"] == "global"
    )
    assert can_reach(network.db, address, network.web)
    network.host.run("ip", "link", "del", "br-blue")
    network.host.run("ip6tables", "-t", "nat", "-F")
    assert network.repair()[-1] == "firewall rules of network blue are missing"
    assert can_reach(network.db, address, network.web)
    network.web.run("ping", "-6", "-c1", "-W2", address.partition("::")[0] + "::1")


def test_who_waits_for_a_neighbour_finds_it_as_soon_as_the_bridge_is_back(network: BlueNetwork) -> None:
    """The gateway and another container: without waiting to ask again, which is once a minute here."""
    network.create("--ipv6")
    host, web = network.host, network.web
    addresses = [
        address["local"]
        for at, link in ((host, "br-blue"), (network.db, "eth0"))
        for address in loads(at.run("ip", "-j", "addr", "show", link))[0]["addr_info"]
        if address["scope"] == "global"
    ]
    assert len(addresses) == 4
    host.run("ip", "link", "del", "br-blue")
    for family in ("ipv4", "ipv6"):
        web.run("sysctl", "-qw", f"net.{family}.neigh.eth0.retrans_time_ms=60000")
    web.run("ip", "neigh", "flush", "dev", "eth0")
    command = ["ip", "netns", "exec", web.name, "ping", "-qc1", "-w20", "-i0.2"]
    pings = [subprocess.Popen([*command, address], stdout=subprocess.DEVNULL) for address in addresses]
    wait_for(lambda: web.run("ip", "neigh").count("INCOMPLETE") == len(addresses))
    network.shibafu("network repair")
    for ping in pings:
        assert ping.wait(timeout=30) == 0


@contextmanager
def stopped_repair(network: BlueNetwork, program: Path, real: str, look: str, number: int) -> Iterator[None]:
    """Repair the network, which must succeed, and stop when a program has looked at something.

    Args:
        network: the network.
        program: stands for the program meanwhile.
        real: the program itself.
        look: a pattern of sh(1) for what it is called with on stdin, after CNI_COMMAND and a space.
        number: which of such calls it is.
    """
    program.parent.mkdir()
    calls, resumed = program.with_suffix(".calls"), program.with_suffix(".resumed")
    program.write_text(
        f"""#!/bin/sh
        text=$(cat)
        printf '%s\\n' "$text" | {real} "$@"
        status=$?
        case "$CNI_COMMAND $text" in {look}) echo >>{calls};; *) exit $status;; esac
        [ $(wc -l <{calls}) = {number} ] || exit $status
        for _ in $(seq 1000); do [ -e {resumed} ] && break; sleep 0.01; done
        exit $status
        """
    )
    program.chmod(0o755)
    shibafu = network.shibafu
    before = dict(shibafu.env)
    for name in ("PATH", "CNI_PATH"):
        shibafu.env[name] = f"{program.parent}:{before[name]}"
    repair = shibafu.start("network", "repair", "blue")
    shibafu.env = before
    wait_for(lambda: calls.exists() and len(calls.read_text()) == number)
    yield
    resumed.touch()
    out, err = repair.communicate(timeout=60)
    assert repair.returncode == 0, (out, err)


@pytest.mark.parametrize("leaving", [["db"], pytest.param(["db", "web"], marks=pytest.mark.long)], ids=len)
@pytest.mark.parametrize("option", ["--driver-opt macspoofchk=true", "--internal"])
def test_a_container_is_detached_while_it_is_being_repaired(
    network: BlueNetwork, tmp_path: Path, option: str, leaving: list[str]
) -> None:
    """Between the look at the rules of its port and the mending: nothing of it is left."""
    network.is_internal = option == "--internal"
    network.create(f"--no-masq {option}")
    host, shibafu = network.host, network.shibafu
    ports = {name: calc_host_veth("blue", getattr(network, name).name, "eth0") for name in ("web", "db")}
    host.run("nft", "flush", "ruleset")
    for port in ports.values():
        host.run("ip", "link", "set", port, "nomaster")
    # The faults are counted first.
    with stopped_repair(network, tmp_path / "bin/nft", "/usr/sbin/nft", '*" list table bridge"*', 2):
        for name in leaving:
            shibafu(f"network disconnect blue {getattr(network, name).name}")
    rules = host.run("nft", "list", "ruleset")
    assert not any(ports[name] in rules for name in leaving)
    if len(leaving) == 1:
        assert ports["web"] in rules or (network.is_internal and "shibafu" in rules)
        assert "nothing to repair" in shibafu("network repair --dry-run")
    else:
        assert rules == ""
        assert not [path for path in shibafu.records.glob("*") if not path.name.startswith(".")]


def test_a_container_is_detached_while_it_gets_its_lease_back(network: BlueNetwork, tmp_path: Path) -> None:
    network.create()
    shibafu = network.shibafu
    addresses = shibafu.json("ipam ls blue")
    lost = next(path for path in shibafu.store.rglob("10.66.0.*") if network.db.name in path.read_text())
    lost.unlink()
    plugin = f"{shibafu.env['CNI_PATH']}/shibafu-ipam"
    with stopped_repair(network, tmp_path / "bin/shibafu-ipam", plugin, '"CHECK "*', 3):
        shibafu(f"network disconnect blue {network.db.name}")
    assert not lost.exists()
    assert len(shibafu.json("ipam ls blue")) == len(addresses) - 1
