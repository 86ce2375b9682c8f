"""GC frees what the runtime no longer lists; STATUS says whether ADD would work."""

import pytest

from support.machine import Config, Machine


@pytest.fixture
def config(machine: Machine) -> Config:
    """A dual-stack NAT network with three attachments: c1 eth0, c1 eth1 and c2 eth0."""
    config = machine.config("10.10.0.0/24", "fd00:10::/64", isDefaultGateway=False, isGateway=True)
    for container, ifname in (("c1", "eth0"), ("c1", "eth1"), ("c2", "eth0")):
        machine.add(config, container, ifname)
    return config


def test_what_is_listed_stays(machine: Machine, config: Config) -> None:
    before = machine.snapshot()
    machine.collect_garbage(config, ("c1", "eth0"), ("c1", "eth1"), ("c2", "eth0"), ("c9", "eth0"))
    assert machine.snapshot() == before


def test_what_is_not_listed_goes(machine: Machine, config: Config) -> None:
    rules = machine.rules()
    machine.collect_garbage(config, ("c1", "eth1"))
    assert set(machine.links(machine.container("c1"))) == {"lo", "eth1"}
    assert set(machine.links(machine.container("c2"))) == {"lo"}
    assert len(machine.leases()) == 2
    assert machine.rules() == rules
    machine.check(config, "c1", "eth1")
    machine.add(config, "c2")


def test_an_empty_list_frees_all(machine: Machine, config: Config) -> None:
    machine.collect_garbage(config)
    assert set(machine.links()) == {"lo", "br0"}
    assert machine.rules() == []
    assert machine.leases() == set()
    assert machine.remembered() == set()
    machine.collect_garbage(config)


@pytest.mark.parametrize("key", [{}, {"cni.dev/attachments": []}, {"cni.dev/valid-attachments": None}])
def test_an_absent_list_frees_nothing(machine: Machine, config: Config, key: Config) -> None:
    # cnitool's way: no list, and the variables of a container set to nothing
    before = machine.snapshot()
    answer = machine.call("GC", config | key, CNI_CONTAINERID="", CNI_IFNAME="", CNI_NETNS="")
    assert (answer.status, answer.stdout) == (0, b"")
    assert machine.snapshot() == before


def test_another_network_is_not_touched(machine: Machine, config: Config) -> None:
    other = machine.config("10.20.0.0/24", name="other", bridge="br1")
    machine.add(other, "c3")
    machine.collect_garbage(other | {"bridge": "br0"}, ("c3", "eth0"))
    machine.collect_garbage(config)
    machine.check(other, "c3")
    assert {lease.partition("/")[0] for lease in machine.leases()} == {"other"}


def test_containers_whose_namespace_is_gone(machine: Machine, config: Config) -> None:
    machine.container("c2").delete()
    machine.collect_garbage(config, ("c1", "eth0"), ("c1", "eth1"))
    assert len(machine.leases()) == 4
    machine.check(config, "c1")


def test_errors_are_all_told_and_stop_nothing(machine: Machine, config: Config) -> None:
    broken = machine.make_plugin("""echo '{"code": 5, "msg": "ipam is broken"}'; exit 1""")
    error = machine.fail(config | {"cni.dev/valid-attachments": []}, command="GC", CNI_PATH=broken)
    assert error["msg"] == "ipam is broken"
    assert set(machine.links()) == {"lo", "br0"}
    assert machine.rules() == []
    failing = machine.make_program("iptables-restore", "echo oops >&2; exit 2")
    machine.add(config, "c3")
    error = machine.fail(
        config | {"cni.dev/valid-attachments": []}, command="GC", CNI_PATH=broken, PATH=failing
    )
    assert "ipam is broken" in error["msg"]
    assert "oops" in error["msg"]
    assert set(machine.links()) == {"lo", "br0"}
    machine.collect_garbage(config)
    assert machine.rules() == []
    assert machine.leases() == set()
    assert machine.remembered() == set()


def test_gc_of_a_layer_2_network(machine: Machine) -> None:
    config = machine.layer2(name="flat")
    machine.add(config, "c1")
    machine.add(config, "c2")
    machine.collect_garbage(config, ("c2", "eth0"))
    assert set(machine.links(machine.container("c1"))) == {"lo"}
    machine.check(config, "c2")


def test_status_of_a_network_that_works(machine: Machine) -> None:
    before = machine.snapshot()
    for config in (machine.config(), machine.config("fd00:10::/64"), machine.layer2()):
        answer = machine.call("STATUS", config)
        assert (answer.status, answer.stdout) == (0, b"")
    assert machine.snapshot() == before
    assert not machine.data_dir.exists()


def test_status_of_an_exhausted_range(machine: Machine) -> None:
    config = machine.config("10.10.0.0/30")
    assert machine.call("STATUS", config).status == 0
    machine.add(config)
    error = machine.fail(config, command="STATUS")
    assert error["code"] == 50
    machine.delete(config)
    assert machine.call("STATUS", config).status == 0


@pytest.mark.parametrize("backend", ["iptables", "nftables"])
def test_status_without_the_firewalls_program(machine: Machine, backend: str) -> None:
    machine.hide("mount -t tmpfs none /usr/sbin")
    config = machine.config(ipMasqBackend=backend)
    error = machine.fail(config, command="STATUS")
    assert error["code"] == 50
    assert "is not installed" in error["msg"]
    assert machine.call("STATUS", config | {"ipMasq": False}).status == 0
    error = machine.fail(config | {"ipMasq": False, "isolate": True}, command="STATUS")
    assert (error["code"], '"isolate" to false' in error["details"]) == (50, True)


def test_status_without_the_program_for_one_family(machine: Machine) -> None:
    machine.hide(
        "mount -t tmpfs none /mnt",
        "cp -P /usr/sbin/iptables* /usr/sbin/xtables* /mnt/",
        "mount --bind /mnt /usr/sbin",
    )
    assert machine.call("STATUS", machine.config()).status == 0
    for config in (
        machine.config("10.10.0.0/24", "fd00:10::/64"),
        machine.config(runtimeConfig={"ipRanges": [[{"subnet": "fd00:10::/64"}]]}),
    ):
        error = machine.fail(config, command="STATUS")
        assert (error["code"], error["msg"]) == (50, "ip6tables-restore is not installed")
    assert machine.call("STATUS", machine.config("10.10.0.0/24", "fd00:10::/64", ipMasq=False)).status == 0


def test_status_where_nothing_can_be_remembered(machine: Machine) -> None:
    machine.hide("mkdir -p /run/shibafu", "mount -t tmpfs -o ro none /run/shibafu")
    error = machine.fail(machine.config(), command="STATUS")
    assert (error["code"], error["msg"]) == (50, "cannot write to /run/shibafu")


def test_status_of_a_bridge_that_is_none(machine: Machine) -> None:
    error = machine.fail(machine.layer2(bridge="lo"), command="STATUS")
    assert (error["code"], error["msg"]) == (50, '"lo" already exists but is not a bridge')


def test_status_where_only_nft_is_installed(machine: Machine) -> None:
    """The default backend is then nftables, and nothing of iptables is missed."""
    machine.hide(
        "mount -t tmpfs none /mnt",
        "cp -L /usr/sbin/nft /mnt/nft",
        "mount --bind /mnt /usr/sbin",
    )
    config = machine.config()
    assert machine.call("STATUS", config).status == 0
    machine.add(config)
    machine.check(config)
    machine.delete(config)


def test_status_with_an_ipam_plugin_that_is_missing(machine: Machine) -> None:
    config = machine.config()
    error = machine.fail(config, command="STATUS", CNI_PATH="/nowhere")
    assert 'failed to find plugin "host-local"' in error["msg"]


def test_status_of_a_bad_configuration(machine: Machine) -> None:
    assert machine.fail(machine.config(mtu="x"), command="STATUS")["code"] == 7
    assert machine.fail(machine.config("10.10.0.7/24"), command="STATUS")["code"] == 7
