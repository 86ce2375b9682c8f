"""What goes wrong with etcd, with hosts and in the kernel, and what containers notice of it: nothing."""

import json
import os
import signal
import time
from pathlib import Path

import pytest

from netns.overlay_lab import DUAL_STACK, NETWORK, SUBNETS, OverlayLab, Pair, wait_until
from support.certificates import Authority
from support.etcd import EtcdServer
from support.pings import Pings

pytestmark = pytest.mark.long


# In the kernel


@pytest.mark.parametrize(
    "breakage",
    [
        "ip link del flannel.1",
        "ip link set flannel.1 down",
        "ip link set flannel.1 address 02:00:00:00:00:01",
        "ip address flush dev flannel.1",
        "ip route flush dev flannel.1",
        "ip neighbour flush dev flannel.1 nud permanent",
        "bridge fdb del {mac} dev flannel.1 dst {address}",
        "ip route replace {subnet} dev lo",
    ],
)
def test_what_is_removed_is_put_back(pair: Pair, breakage: str) -> None:
    first, second, container = pair
    entries, link = second.list_entries(), second.namespace.run("ip", "-br", "link", "show", "flannel.1")
    mac = first.namespace.read_link("flannel.1", "address")
    subnet = first.read_subnet().replace(".1/", ".0/")
    command = breakage.format(mac=mac, address=first.address, subnet=subnet).split()
    second.namespace.run(*command)
    wait_until(lambda: second.list_entries() == entries, "the entries")
    wait_until(lambda: second.namespace.run("ip", "-br", "link", "show", "flannel.1") == link, "the device")
    container.run("ping", "-c1", "-w5", second.calc_container())


def test_what_is_not_ours_is_removed(pair: Pair) -> None:
    """Entries of a MAC that a host had before would otherwise stay for ever."""
    _, second, _ = pair
    entries = second.list_entries()
    second.namespace.run(
        "bridge", "fdb", "add", "02:00:00:00:00:02", "dev", "flannel.1", "dst", "192.168.77.50"
    )
    second.namespace.run(
        "ip", "route", "add", "10.42.99.0/24", "via", "10.42.99.0", "dev", "flannel.1", "onlink"
    )
    wait_until(lambda: second.list_entries() == entries, "the entries")


def test_the_subnet_file_is_written_again(pair: Pair) -> None:
    _, second, _ = pair
    content = second.subnet_file.read_text()
    second.subnet_file.unlink()
    second.namespace.run("ip", "link", "set", "flannel.1", "down")
    wait_until(second.subnet_file.exists, "the file")
    assert second.subnet_file.read_text() == content


def test_host_address_changes(pair: Pair, lab: OverlayLab) -> None:
    first, second, container = pair
    subnet = second.read_subnet()
    second.namespace.run("ip", "address", "del", f"{second.address}/24", "dev", "eth0")
    second.namespace.run("ip", "address", "add", "192.168.77.112/24", "dev", "eth0")
    wait_until(lambda: any("192.168.77.112" in value for value in lab.list_keys().values()), "the key")
    wait_until(lambda: "192.168.77.112" in str(first.list_entries()), "the entry")
    assert len(lab.list_keys()) == 2
    assert second.read_subnet() == subnet
    container.run("ping", "-c1", "-w5", second.calc_container())


# With agents


def test_an_agent_is_killed_at_any_point(pair: Pair, lab: OverlayLab) -> None:
    _, second, container = pair
    keys, entries, file = lab.list_keys(), second.list_entries(), second.subnet_file.read_text()
    with Pings(container, second.calc_container()) as pings:
        for tenths in range(14):
            second.stop(signal.SIGKILL)
            second.start()
            time.sleep(tenths / 10)
        started = second.read_state()["started"]
        second.stop(signal.SIGKILL)
        second.start()
        wait_until(lambda: second.read_state()["started"] > started, "a start", 30)
        wait_until(lambda: second.read_state()["hosts"] == 2, "all hosts")
    assert pings.lost == 0
    assert (lab.list_keys(), second.list_entries()) == (keys, entries)
    assert second.subnet_file.read_text() == file


def test_an_agent_is_killed_at_any_point_of_its_first_start(tmp_path: Path) -> None:
    """However far it had got, in the end the host has one subnet, and one device."""
    with OverlayLab(tmp_path, 1) as lab:
        (host,) = lab.hosts
        for tenths in range(14):
            host.start()
            time.sleep(tenths / 10)
            host.stop(signal.SIGKILL)
        host.start()
        wait_until(lambda: bool(host.read_subnet()), "the subnet file", 30)
        wait_until(lambda: host.read_state().get("state") == "joined", "join")
        assert list(lab.list_keys()) == [host.read_subnet().replace(".1/", ".0-")]
        assert len(host.namespace.run("ip", "-br", "link", "show", "type", "vxlan").splitlines()) == 1


# With etcd


def test_etcd_is_down(pair: Pair, lab: OverlayLab) -> None:
    first, second, container = pair
    with Pings(container, second.calc_container()) as pings:
        lab.etcd.stop()
        wait_until(lambda: "cannot be reached" in second.read_log(), "the outage")
        # Its agent is killed, too.
        first.stop(signal.SIGKILL)
        first.start()
        time.sleep(1.5)
        lab.etcd.start()
        lab.join_by_hand("10.42.200.0")
        for host in (first, second):
            wait_until(lambda: host.has_route("10.42.200.0"), host.name)  # noqa: B023
    assert pings.lost == 0


def test_kernel_is_repaired_without_etcd(pair: Pair, lab: OverlayLab) -> None:
    _, second, container = pair
    entries = second.list_entries()
    lab.etcd.stop()
    second.namespace.run("ip", "link", "del", "flannel.1")
    wait_until(lambda: second.list_entries() == entries, "the entries")
    container.run("ping", "-c1", "-w5", second.calc_container())


def test_history_is_compacted_while_a_host_is_cut_off(pair: Pair, lab: OverlayLab) -> None:
    _, second, container = pair
    lab.join_by_hand("10.42.200.0")
    wait_until(lambda: second.has_route("10.42.200.0"), "the first")
    lab.switch.run("ip", "link", "set", f"port{second.number}", "down")
    # Its connection ends, since nothing is heard for 11 seconds.
    lab.etcd.ctl("del", f"{SUBNETS}/10.42.200.0-24")
    lab.join_by_hand("10.42.201.0")
    lab.etcd.ctl("compact", str(lab.etcd.read_revision()))
    wait_until(lambda: "cannot be reached" in second.read_log(), "the partition", 30)
    assert second.has_route("10.42.200.0")
    lab.switch.run("ip", "link", "set", f"port{second.number}", "up")
    wait_until(lambda: second.has_route("10.42.201.0"), "the second")
    assert not second.has_route("10.42.200.0")
    container.run("ping", "-c1", "-w5", second.calc_container())


def test_own_key_is_deleted(pair: Pair, lab: OverlayLab) -> None:
    first, second, container = pair
    keys, subnet = lab.list_keys(), second.read_subnet()
    with Pings(container, second.calc_container()) as pings:
        lab.etcd.ctl("del", "--prefix", SUBNETS)
        wait_until(lambda: lab.list_keys() == keys, "the same keys")
        wait_until(lambda: first.routes_to(second) and second.routes_to(first), "routes")
        time.sleep(0.2)
    assert second.read_subnet() == subnet
    # The route is away for some milliseconds.
    assert pings.lost <= 20


def test_own_lease_expires(tmp_path: Path) -> None:
    with OverlayLab(tmp_path, 2, leaseSeconds=5) as lab:
        lab.start()
        first, second = lab.hosts
        keys = lab.list_keys()
        second.stop()
        wait_until(lambda: not first.routes_to(second), "the end of the lease", 20)
        assert len(lab.list_keys()) == 1
        second.start()
        lab.wait_until_joined()
        assert lab.list_keys() == keys
        # It is renewed before it ends.
        time.sleep(6)
        assert lab.list_keys() == keys


def test_own_lease_expires_while_the_agent_hangs(tmp_path: Path) -> None:
    """Other hosts lose the way; once it goes on, it has the same subnet again."""
    with OverlayLab(tmp_path, 2, leaseSeconds=5) as lab:
        lab.start()
        first, second = lab.hosts
        container, _ = first.attach(), second.attach()
        keys = lab.list_keys()
        os.kill(second.find_agent(), signal.SIGSTOP)
        wait_until(lambda: not first.routes_to(second), "the end of the lease", 20)
        os.kill(second.find_agent(), signal.SIGCONT)
        lab.wait_until_joined()
        assert lab.list_keys() == keys
        container.run("ping", "-c1", "-w5", second.calc_container())


def test_own_subnet_is_taken(pair: Pair, lab: OverlayLab) -> None:
    _, second, container = pair
    subnet = second.read_subnet().replace(".1/24", ".0")
    lab.join_by_hand(subnet)
    wait_until(lambda: second.read_state()["state"] == "taken", "the loss")
    assert "has been taken by the host 192.168.77.99" in second.command("status", status=1)
    # Nothing is changed here: its containers have these addresses.
    assert second.read_subnet().replace(".1/24", ".0") == subnet
    lab.etcd.ctl("del", f"{SUBNETS}/{subnet}-24")
    wait_until(lambda: second.read_state()["state"] == "joined", "the return")
    container.run("ping", "-c1", "-w5", second.calc_container())


def test_partition_of_both_directions(pair: Pair, lab: OverlayLab) -> None:
    """Packets to etcd, then those from it, are dropped; those of containers are not."""
    _, second, container = pair
    for number, (hook, port) in enumerate((("output", "dport"), ("input", "sport"))):
        subnet = f"10.42.{210 + number}.0"
        rule = f"type filter hook {hook} priority 0; tcp {port} 2379 drop;"
        ruleset = f"table ip cut {{ chain c {{ {rule} }}; }}"
        second.namespace.run("nft", ruleset)
        with Pings(container, second.calc_container()) as pings:
            lab.join_by_hand(subnet)
            time.sleep(1)
            # What etcd sends arrives once, even if its acknowledgement does not.
            assert hook == "output" or not second.has_route(subnet)
        assert pings.lost == 0
        second.namespace.run("nft", "delete table ip cut")
        wait_until(lambda: second.has_route(subnet), subnet, 30)  # noqa: B023


def test_passwords_and_certificates(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.issue("server", "/CN=etcd")
    client, client_key = authority.issue("client", "/O=shibafu")
    password = tmp_path / "password"
    password.write_text("azure")
    files = {
        "cafile": authority.certificate,
        "certfile": client,
        "keyfile": client_key,
        "passwordFile": password,
    }
    keys = {name: str(path) for name, path in files.items()} | {"username": "blue"}
    with OverlayLab(tmp_path, 1) as lab:
        (host,) = lab.hosts
        lab.etcd.__exit__()
        options = ("--cert-file", certificate, "--key-file", key, "--trusted-ca-file", authority.certificate)
        lab.members = [EtcdServer(host.namespace, *map(str, options), "--client-cert-auth", scheme="https")]
        admin = f"--cacert={authority.certificate}", f"--cert={client}", f"--key={client_key}"
        for words in (
            ("put", "/coreos.com/network/config", json.dumps(NETWORK)),
            ("user", "add", "root:secret"),
            ("user", "grant-role", "root", "root"),
            ("user", "add", "blue:azure"),
            ("role", "add", "blue"),
            ("role", "grant-permission", "blue", "readwrite", "--prefix", "/coreos.com/network/"),
            ("user", "grant-role", "blue", "blue"),
            ("auth", "enable"),
        ):
            lab.etcd.ctl(*admin, *words)
        (network,) = json.loads(host.config.read_text())["networks"]
        network |= keys | {"endpoints": ["https://127.0.0.1:2379"]}
        host.config.write_text(json.dumps({"networks": [network]}))
        host.start()
        wait_until(lambda: host.read_state().get("state") == "joined", "join")
        assert host.address in host.command("ls")


def test_a_clock_is_wrong(tmp_path: Path) -> None:
    """It seems that etcd's certificate has expired: that is said, and what is in the kernel is kept."""
    authority = Authority(tmp_path)
    certificate, key = authority.issue("server", "/CN=etcd")
    with OverlayLab(tmp_path, 1, cafile=str(authority.certificate)) as lab:
        (host,) = lab.hosts
        lab.etcd.__exit__()
        options = ("--cert-file", str(certificate), "--key-file", str(key))
        lab.members = [EtcdServer(host.namespace, *options, scheme="https")]
        lab.etcd.ctl(
            f"--cacert={authority.certificate}", "put", "/coreos.com/network/config", json.dumps(NETWORK)
        )
        (network,) = json.loads(host.config.read_text())["networks"]
        network["endpoints"] = ["https://127.0.0.1:2379"]
        host.config.write_text(json.dumps({"networks": [network]}))
        host.start()
        wait_until(lambda: host.read_state().get("state") == "joined", "join")
        authority.expire(certificate, key)
        lab.etcd.stop()
        lab.etcd.start()
        wait_until(lambda: "certificate has expired" in host.read_state()["trouble"], "the certificate")
        assert "this host's clock" in host.command("status", status=1)
        host.namespace.run("ip", "link", "del", "flannel.1")
        wait_until(lambda: "flannel.1" in host.namespace.run("ip", "-br", "link"), "the device")


# Many hosts


def test_a_thousand_hosts(tmp_path: Path) -> None:
    """Of both families, 6,000 entries; an agent that starts again changes none, and no packet is lost."""
    with OverlayLab(tmp_path, 2, DUAL_STACK | {"Network": "10.40.0.0/13"}) as lab:
        lab.start()
        host, other = lab.hosts
        wait_until(lambda: host.count_routes() == 2, "routes of both families")
        container, _ = host.attach(), other.attach()
        # What is measured is one agent.
        other.stop()
        lab.put_hosts(range(200, 1200))
        took = wait_until(lambda: host.count_routes() == 2 * 1001, "routes to all hosts")
        assert took < 3
        resident = Path(f"/proc/{host.find_agent()}/status").read_text().split("VmRSS:")[1].split()[0]
        assert int(resident) < 60 * 1024
        entries = host.list_entries()
        with Pings(container, other.calc_container()) as pings, host.monitor() as announced:
            started = host.read_state()["started"]
            host.stop()
            host.start()
            wait_until(lambda: host.read_state()["started"] > started, "a start", 30)
            wait_until(lambda: host.read_state()["hosts"] == 1002, "all hosts")
            time.sleep(0.5)
            assert [line for line in announced if "fe80:" not in line and "_lft " not in line] == []
        assert pings.lost == 0
        assert host.list_entries() == entries
