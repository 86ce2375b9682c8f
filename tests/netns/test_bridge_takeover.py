"""Containers that the reference plugin attached, before shibafu took its place."""

import os
import subprocess
from json import dumps, loads

import pytest

from shibafu.bridge.compat.reference import calc_reference_chain
from shibafu.cni.names import calc_reference_hash
from support.machine import Config, Machine
from support.remains import assert_clean

REFERENCE = "/usr/lib/cni"

pytestmark = pytest.mark.skipif(
    not os.path.exists(f"{REFERENCE}/bridge"), reason="the reference plugins are not installed"
)
MISSING_CHECK = "the MAC spoof check of port "


@pytest.fixture(params=["10.10.0.0/24", "10.10.0.0/24 fd00:10::/64"])
def config(machine: Machine, request: pytest.FixtureRequest) -> Config:
    """A NAT network, of one family and of two."""
    return machine.config(*request.param.split(), cniVersion="1.0.0")


def attach(machine: Machine, config: Config, container: str = "c1", ifname: str = "eth0") -> Config:
    """Have the reference attach a container; return the network for CHECK, with the result."""
    environment = {
        "CNI_COMMAND": "ADD",
        "CNI_CONTAINERID": container,
        "CNI_IFNAME": ifname,
        "CNI_NETNS": machine.container(container).path,
        "CNI_PATH": REFERENCE,
        "PATH": machine.path,
    }
    done = subprocess.run(
        ["nsenter", f"--net={machine.host.path}", f"{REFERENCE}/bridge"],
        env=environment,
        input=dumps(config).encode(),
        check=True,
        stdout=subprocess.PIPE,
    )
    return config | {"prevResult": loads(done.stdout)}


def spoof_chains(machine: Machine) -> list[str]:
    listed = machine.host.run("nft", "list", "ruleset")
    return [line.strip() for line in listed.splitlines() if "cni-br-iface" in line or "macspoofchk" in line]


def test_del(machine: Machine, config: Config) -> None:
    attach(machine, config)
    assert machine.rules() != []
    machine.delete(config)
    assert set(machine.links(machine.container())) == {"lo"}
    assert_clean(machine)


def test_del_after_the_bridge_was_deleted(machine: Machine, config: Config) -> None:
    attached = attach(machine, config)
    machine.host.run("ip", "link", "del", "br0")
    machine.delete(attached)
    assert set(machine.links(machine.container())) == {"lo"}
    assert machine.leases() == set()


@pytest.mark.parametrize("netns", [{}, {"CNI_NETNS": ""}], ids=str)
def test_del_beside_a_container_of_our_own(machine: Machine, config: Config, netns: Config) -> None:
    machine.add(config, "c2")
    before = machine.rules()
    attach(machine, config)
    machine.delete(config, **netns)
    assert machine.rules() == before
    machine.check(config, "c2")


def test_check(machine: Machine, config: Config) -> None:
    taken_over = attach(machine, config)
    before = machine.snapshot()
    machine.check(taken_over)
    assert machine.snapshot() == before
    machine.add(config, "c2")
    machine.check(taken_over)
    machine.check(config, "c2")


def expect_failure(machine: Machine, config: Config, message: str) -> None:
    error = machine.fail(config, command="CHECK")
    assert (error["code"], message in error["msg"]) == (104, True), error


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("ip link set {port} nomaster", "link {port} is not a port of bridge br0"),
        ("ip link set {port} down", "link {port} of the host is down"),
        ("ip link del {port}", "of the host is missing"),
        ("iptables -t nat -F POSTROUTING", "firewall rules of network net are missing"),
        ("iptables -t nat -F {chain}", "firewall rules of network net are missing"),
    ],
)
def test_check_finds_damage(machine: Machine, config: Config, damage: str, message: str) -> None:
    taken_over = attach(machine, config)
    words = {
        "port": taken_over["prevResult"]["interfaces"][1]["name"],
        "chain": calc_reference_chain("net", "c1"),
    }
    machine.host.run(*damage.format(**words).split())
    expect_failure(machine, taken_over, message.format(**words))


def test_check_of_another_container_than_the_result_s(machine: Machine, config: Config) -> None:
    taken_over = attach(machine, config)
    taken_over["prevResult"]["interfaces"][1]["name"] = "veth00000000"
    expect_failure(machine, taken_over, "of the host is missing")


def test_spoof_check(machine: Machine, config: Config) -> None:
    checked = config | {"macspoofchk": True}
    taken_over = attach(machine, checked)
    attach(machine, checked, "c2")
    machine.check(taken_over)
    port = taken_over["prevResult"]["interfaces"][1]["name"]
    machine.delete(checked, "c1")
    left = spoof_chains(machine)
    assert left
    assert not any("-c1-eth0" in line for line in left)
    machine.delete(checked, "c2")
    assert spoof_chains(machine) == []
    attach(machine, checked)
    machine.host.run("nft", "flush", "chain", "bridge", "nat", "PREROUTING")
    expect_failure(machine, taken_over, "of the host is missing")
    assert port


def test_check_without_the_spoof_check_s_chains(machine: Machine, config: Config) -> None:
    checked = config | {"macspoofchk": True}
    taken_over = attach(machine, checked)
    machine.host.run("nft", "flush", "chain", "bridge", "nat", "PREROUTING")
    expect_failure(machine, taken_over, MISSING_CHECK)


def make_newer_masquerade(machine: Machine, *owners: tuple[str, str, str]) -> None:
    """Make the table of the reference's newer releases, of (network, container, address) each."""
    table = "inet cni_plugins_masquerade"
    lines = [
        f"add table {table}",
        f"add chain {table} masq_checks",
        f"add chain {table} postrouting {{ type nat hook postrouting priority 100; }}",
        f"add rule {table} postrouting ip daddr 224.0.0.0/4 return",
        f"add rule {table} postrouting goto masq_checks",
    ]
    for network, container, address in owners:
        instance = f"{calc_reference_hash(network)[:16]}-{calc_reference_hash(f'eth0:{container}')[:16]}"
        comment = f"{instance}, net: {network}, if: eth0, id: {container}"
        lines.append(
            f"add rule {table} masq_checks ip saddr {address} ip daddr != 10.10.0.0/24 masquerade "
            f'comment "{comment}"'
        )
    machine.host.run("sh", "-c", f"nft -f - <<'END'\n{chr(10).join(lines)}\nEND")


def masqueraded(machine: Machine) -> list[str]:
    listed = machine.host.run("nft", "list", "table", "inet", "cni_plugins_masquerade")
    return [line.split()[2] for line in listed.splitlines() if line.strip().startswith("ip saddr")]


def test_masquerading_of_newer_releases(machine: Machine) -> None:
    config = machine.config(cniVersion="1.0.0", ipMasqBackend="nftables")
    attached = config | {"ipMasq": False}
    taken_over = attach(machine, attached)
    prev_result = {"prevResult": taken_over["prevResult"]}
    expect_failure(machine, config | prev_result, "firewall rules of network net are missing")
    owners = [("net", "c1", "10.10.0.2"), ("net", "c2", "10.10.0.3"), ("other", "c1", "10.10.0.4")]
    make_newer_masquerade(machine, *owners)
    machine.check(config | prev_result)
    machine.delete(config)
    assert masqueraded(machine) == ["10.10.0.3", "10.10.0.4"]
    machine.collect_garbage(config | {"cniVersion": "1.1.0"}, ("c9", "eth0"))
    assert masqueraded(machine) == ["10.10.0.4"]


@pytest.mark.parametrize("masquerade", [True, False])
def test_gc(machine: Machine, config: Config, masquerade: bool) -> None:
    config = config | {"ipMasq": masquerade, "macspoofchk": True}
    attach(machine, config, "c1")
    taken_over = attach(machine, config, "c2")
    machine.add(config, "c3")
    newer = config | {"cniVersion": "1.1.0"}
    machine.collect_garbage(newer, ("c1", "eth0"), ("c2", "eth0"), ("c3", "eth0"))
    machine.collect_garbage(newer, ("c2", "eth0"), ("c3", "eth0"))
    assert set(machine.links(machine.container("c1"))) == {"lo"}
    assert not any(calc_reference_chain("net", "c1") in rule for rule in machine.rules())
    assert not any("-c1-eth0" in line for line in spoof_chains(machine))
    assert len(machine.leases()) == 2 * len(config["ipam"]["ranges"])
    machine.check(taken_over, "c2")
    machine.check(config, "c3")
    machine.collect_garbage(newer)
    assert set(machine.links(machine.container("c2"))) == {"lo"}
    assert spoof_chains(machine) == []
    assert set(machine.links()) == {"lo", "br0"}
    assert machine.rules() == []
    assert machine.leases() == set()


def test_gc_removes_the_rules_of_a_vanished_container(machine: Machine, config: Config) -> None:
    """The reference's own DEL leaves them."""
    attach(machine, config, "c1")
    machine.container("c1").delete()
    machine.collect_garbage(config | {"cniVersion": "1.1.0"})
    assert machine.rules() == []
    assert machine.leases() == set()


def test_gc_goes_on_past_a_chain_that_cannot_be_removed(machine: Machine, config: Config) -> None:
    names = ("c1", "c2", "c3")
    for name in names:
        attach(machine, config, name)
    chains = [calc_reference_chain("net", name) for name in names]
    machine.iptables("-t nat -N MINE")
    machine.iptables(f"-t nat -A MINE -j {chains[1]}")
    error = machine.fail(config | {"cniVersion": "1.1.0", "cni.dev/valid-attachments": []}, command="GC")
    assert "refused to remove rules" in error["msg"]
    left = {chain for chain in chains if any(chain in rule for rule in machine.rules())}
    assert left == {chains[1]}
    machine.iptables("-t nat -F MINE")
    machine.iptables("-t nat -X MINE")
    machine.collect_garbage(config | {"cniVersion": "1.1.0"})
    assert_clean(machine)


def test_gc_without_leases_that_can_be_read(machine: Machine) -> None:
    """Another IPAM plugin: the masquerading chain tells whose address it is."""
    ipam = {"type": "static", "addresses": [{"address": "10.10.0.9/24", "gateway": "10.10.0.1"}]}
    config = machine.config(cniVersion="1.0.0", ipam=ipam)
    attach(machine, config)
    # Debian's release of static does not know GC.
    machine.cni_path = machine.make_plugin("exit 0", name="static")
    other = machine.config("10.20.0.0/24", cniVersion="1.0.0", name="other")
    attach(machine, other | {"isDefaultGateway": False}, "c2")
    machine.collect_garbage(config | {"cniVersion": "1.1.0"})
    assert set(machine.links(machine.container("c1"))) == {"lo"}
    assert "eth0" in machine.links(machine.container("c2"))
    assert any(calc_reference_chain("other", "c2") in rule for rule in machine.rules())


def test_gc_finds_attachments_whose_records_were_lost(machine: Machine) -> None:
    config = machine.config("10.10.0.0/24", "fd00:10::/64")
    machine.add(config, "c1")
    machine.add(config, "c2")
    for path in sorted(machine.records.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    machine.collect_garbage(config, ("c2", "eth0"))
    assert set(machine.links(machine.container("c1"))) == {"lo"}
    machine.check(config, "c2")
    machine.collect_garbage(config)
    assert_clean(machine)


def test_an_interface_on_another_bridge_is_kept(machine: Machine) -> None:
    """A runtime sends DEL after a failed ADD, and must not take away what made the ADD fail."""
    machine.host.run("ip", "link", "add", "otherbr", "up", "type", "bridge")
    machine.host.run("ip", "link", "add", "br0", "up", "type", "bridge")
    inside = machine.container().name
    machine.host.run(
        *f"ip link add vethabc1234 master otherbr type veth peer name eth0 netns {inside}".split()
    )
    for config in (machine.config(), machine.layer2()):
        machine.fail(config)
        machine.delete(config)
        assert "eth0" in machine.links(machine.container())
