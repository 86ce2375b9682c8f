"""A failed ADD leaves nothing, wherever it fails, and keeps what was there before it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from support.machine import Config, Machine

# How an ADD is made to fail: a function changes the machine or the configuration, and returns changes of
# the environment. Then the code and a part of the message.
Sabotage = Callable[[Machine, Config], dict[str, str]]


def no_namespace(_: Machine, __: Config) -> dict[str, str]:
    return {"CNI_NETNS": "/run/netns/shibafu-never"}


def a_file_for_a_namespace(machine: Machine, _: Config) -> dict[str, str]:
    path = machine.directory / "file"
    path.write_text("")
    return {"CNI_NETNS": str(path)}


def a_namespace_of_another_kind(_: Machine, __: Config) -> dict[str, str]:
    return {"CNI_NETNS": "/proc/self/ns/mnt"}


def ipam_is_missing(machine: Machine, config: Config) -> dict[str, str]:
    config["ipam"]["type"] = "nowhere-to-be-found"
    return {}


def ipam_refuses(machine: Machine, _: Config) -> dict[str, str]:
    script = """[ $CNI_COMMAND = DEL ] && exec $REAL; echo '{"code": 11, "msg": "later"}'; exit 1"""
    return {"CNI_PATH": machine.make_plugin(script)}


def ipam_takes_an_address_and_fails(machine: Machine, _: Config) -> dict[str, str]:
    script = (
        '$REAL >/dev/null; [ $CNI_COMMAND = DEL ] || { echo \'{"code": 99, "msg": "half-way"}\'; exit 1; }'
    )
    return {"CNI_PATH": machine.make_plugin(script)}


def ipam_crashes(machine: Machine, _: Config) -> dict[str, str]:
    return {"CNI_PATH": machine.make_plugin("[ $CNI_COMMAND = DEL ] && exec $REAL; $REAL; kill -9 $$")}


def ipam_says_nothing(machine: Machine, _: Config) -> dict[str, str]:
    return {"CNI_PATH": machine.make_plugin("$REAL >/dev/null")}


def ipam_talks_nonsense(machine: Machine, _: Config) -> dict[str, str]:
    return {"CNI_PATH": machine.make_plugin("$REAL; [ $CNI_COMMAND = DEL ] || echo nonsense")}


def ipam_is_exhausted(_: Machine, config: Config) -> dict[str, str]:
    config["ipam"]["ranges"] = [
        [{"subnet": "10.10.0.0/24", "rangeStart": "10.10.0.1", "rangeEnd": "10.10.0.1"}]
    ]
    return {}


def one_of_two_ranges_is_exhausted(_: Machine, config: Config) -> dict[str, str]:
    full = {"subnet": "10.20.0.0/24", "rangeStart": "10.20.0.1", "rangeEnd": "10.20.0.1"}
    config["ipam"]["ranges"] = [[{"subnet": "10.10.0.0/24"}], [full]]
    return {}


def ipam_cannot_store(machine: Machine, config: Config) -> dict[str, str]:
    (machine.directory / "plain").write_text("")
    config["ipam"]["dataDir"] = str(machine.directory / "plain")
    return {}


def the_bridge_is_none(machine: Machine, config: Config) -> dict[str, str]:
    config["bridge"] = "lo"
    return {}


def the_bridge_has_another_address(machine: Machine, config: Config) -> dict[str, str]:
    machine.host.run("ip", "link", "add", "br7", "up", "type", "bridge")
    machine.host.run("ip", "addr", "add", "10.77.0.1/24", "dev", "br7")
    config["bridge"] = "br7"
    return {}


def the_mtu_is_refused(_: Machine, config: Config) -> dict[str, str]:
    config["mtu"] = 20
    return {}


def the_mtu_is_too_small_for_ipv6(_: Machine, config: Config) -> dict[str, str]:
    config["mtu"] = 1000
    config["ipam"]["ranges"] = [[{"subnet": "fd00:10::/64"}]]
    return {}


def a_route_is_refused(_: Machine, config: Config) -> dict[str, str]:
    config["ipam"]["routes"] = [{"dst": "192.168.0.0/16"}, {"dst": "192.0.2.0/24", "gw": "198.51.100.1"}]
    return {}


def make_bridge(machine: Machine, config: Config, address: str = "", **keys: object) -> dict[str, str]:
    """Make a bridge as an administrator does, and have ADD fail when all of the host's is there."""
    machine.host.run("ip", "link", "add", "br7", "up", "type", "bridge")
    if address:
        machine.host.run("ip", "addr", "add", address, "dev", "br7")
    config |= {"bridge": "br7", **keys}
    config["ipam"]["ranges"] = [[{"subnet": "10.10.0.0/24"}], [{"subnet": "fd00:10::/64"}]]
    return a_route_is_refused(machine, config)


def the_bridge_becomes_a_gateway(machine: Machine, config: Config) -> dict[str, str]:
    return make_bridge(machine, config)


def another_address_is_removed(machine: Machine, config: Config) -> dict[str, str]:
    return make_bridge(machine, config, "10.77.0.1/24", forceAddress=True)


def a_vlan_of_a_new_bridge_becomes_a_gateway(machine: Machine, config: Config) -> dict[str, str]:
    # A kernel without VLAN filtering on bridges refuses these two earlier.
    config |= {"bridge": "br7", "vlan": 100}
    return a_route_is_refused(machine, config)


def a_vlan_of_the_bridge_becomes_a_gateway(machine: Machine, config: Config) -> dict[str, str]:
    return make_bridge(machine, config, vlan=100)


def iptables_fails(machine: Machine, _: Config) -> dict[str, str]:
    return {"PATH": machine.make_program("iptables-restore", "echo oops >&2; exit 2")}


def iptables_fails_late(machine: Machine, _: Config) -> dict[str, str]:
    # The rules are made, and then it says that it failed; for making, not for listing or removing them.
    script = (
        'input=$(cat); echo "$input" | $REAL "$@"; case "$input" in *"-A "*) echo oops >&2; exit 2;; esac'
    )
    return {"PATH": machine.make_program("iptables-restore", script)}


def ip6tables_fails(machine: Machine, config: Config) -> dict[str, str]:
    config["ipam"]["ranges"] = [[{"subnet": "10.10.0.0/24"}], [{"subnet": "fd00:10::/64"}]]
    return {"PATH": machine.make_program("ip6tables-restore", "echo oops >&2; exit 2")}


def ip6tables_cannot_be_executed(machine: Machine, config: Config) -> dict[str, str]:
    config["ipam"]["ranges"] = [[{"subnet": "10.10.0.0/24"}], [{"subnet": "fd00:10::/64"}]]
    path = machine.make_program("ip6tables-restore", "")
    Path(path.partition(":")[0], "ip6tables-restore").write_text("#!/nowhere/sh\n")
    return {"PATH": path}


def iptables_is_killed(machine: Machine, _: Config) -> dict[str, str]:
    return {"PATH": machine.make_program("iptables-restore", "kill -9 $$")}


def iptables_is_missing(machine: Machine, _: Config) -> dict[str, str]:
    # A plain directory in place of that where all firewall programs are.
    machine.hide("mount -t tmpfs none /usr/sbin")
    return {"PATH": "/usr/bin"}


def nft_fails(machine: Machine, config: Config) -> dict[str, str]:
    config["ipMasqBackend"] = "nftables"
    return {"PATH": machine.make_program("nft", "echo oops >&2; exit 2")}


def nothing_can_be_remembered(machine: Machine, _: Config) -> dict[str, str]:
    machine.hide("mkdir -p /run/shibafu", "mount -t tmpfs -o ro none /run/shibafu")
    return {}


def switches_are_read_only(machine: Machine, _: Config) -> dict[str, str]:
    machine.hide("mount -o bind,ro /proc/sys /proc/sys")
    return {}


SABOTAGES: list[tuple[Sabotage, int, str]] = [
    (no_namespace, 4, "failed to open netns"),
    (a_file_for_a_namespace, 4, "failed to open netns"),
    (a_namespace_of_another_kind, 4, "failed to open netns"),
    (ipam_is_missing, 7, 'failed to find plugin "nowhere-to-be-found" in path ['),
    (ipam_refuses, 11, "later"),
    (ipam_takes_an_address_and_fails, 99, "half-way"),
    (ipam_crashes, 103, "was killed by signal 9"),
    (ipam_says_nothing, 103, "IPAM plugin returned missing IP config"),
    (ipam_talks_nonsense, 103, "did not answer ADD with a JSON object"),
    (ipam_is_exhausted, 11, "no IP addresses available in range set: 10.10.0.1-10.10.0.1"),
    (one_of_two_ranges_is_exhausted, 11, "no IP addresses available in range set: 10.20.0.1-10.20.0.1"),
    (ipam_cannot_store, 5, "plain"),
    (the_bridge_is_none, 7, 'failed to create bridge "lo": "lo" already exists but is not a bridge'),
    (the_bridge_has_another_address, 7, "already has an IP address different from 10.10.0.1/24"),
    (the_mtu_is_refused, 7, "invalid mtu 20"),
    (the_mtu_is_too_small_for_ipv6, 101, ""),
    (a_route_is_refused, 101, "cannot add route to 192.0.2.0/24 via 198.51.100.1: network is unreachable"),
    (the_bridge_becomes_a_gateway, 101, "cannot add route to 192.0.2.0/24"),
    (another_address_is_removed, 101, "cannot add route to 192.0.2.0/24"),
    (a_vlan_of_the_bridge_becomes_a_gateway, 101, ""),
    (a_vlan_of_a_new_bridge_becomes_a_gateway, 101, ""),
    (iptables_fails, 102, "iptables-restore refused the rules of network net: oops"),
    (iptables_fails_late, 102, "iptables-restore refused the rules of network net: oops"),
    (ip6tables_fails, 102, "ip6tables-restore refused the rules of network net: oops"),
    (ip6tables_cannot_be_executed, 102, "cannot execute"),
    (iptables_is_killed, 102, "iptables-restore refused the rules of network net"),
    (iptables_is_missing, 102, "iptables-restore is not installed"),
    (nft_fails, 102, "nft refused the rules: oops"),
    (nothing_can_be_remembered, 5, "read-only file system"),
    (switches_are_read_only, 101, "failed to enable forwarding"),
]
each_sabotage = pytest.mark.parametrize(
    ("sabotage", "code", "message"), SABOTAGES, ids=[sabotage.__name__ for sabotage, _, _ in SABOTAGES]
)


# What cannot be undone with the tool that is broken is remembered, and goes with the next DEL.
BROKEN_TOOLS = (
    iptables_fails,
    iptables_fails_late,
    ip6tables_fails,
    ip6tables_cannot_be_executed,
    iptables_is_killed,
    nft_fails,
)


def without_rules(snapshot: dict[str, object]) -> dict[str, object]:
    return {key: snapshot[key] for key in ("links", "routes", "leases", "containers")}


@each_sabotage
def test_on_a_fresh_host(machine: Machine, sabotage: Sabotage, code: int, message: str) -> None:
    config = machine.config()
    env = sabotage(machine, config)
    before = machine.snapshot()
    error = machine.fail(config, **env)
    assert (error["code"], message in error["msg"]) == (code, True), error
    machine.prefix = []
    if sabotage not in BROKEN_TOOLS:
        assert machine.snapshot() == before
    assert without_rules(machine.snapshot()) == without_rules(before)
    # The runtime sends DEL after a failed ADD.
    good = machine.config()
    machine.delete(good)
    assert machine.snapshot() == before
    # Then what was wrong is put right, and it is tried again.
    machine.add(good)
    machine.check(good)
    machine.delete(good)


@each_sabotage
def test_beside_what_is_attached(machine: Machine, sabotage: Sabotage, code: int, message: str) -> None:
    """Another container, and another interface of the same container, go on as if nothing had happened."""
    good = machine.config(isDefaultGateway=False, isGateway=True)
    machine.add(good, "c1")
    machine.add(good, "c2")
    config = machine.config(isDefaultGateway=False)
    env = sabotage(machine, config)
    if sabotage in BROKEN_TOOLS:
        # The rules for the first subnet are there already: more of them are wanted.
        config["ipam"]["ranges"] = [[{"subnet": "10.20.0.0/24"}], [{"subnet": "fd00:10::/64"}]]
    elif sabotage is switches_are_read_only:
        config["isGateway"] = True
        for switch in ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"):
            machine.host.run("sysctl", "-qw", f"{switch}=0")
    else:
        config["isGateway"] = True
    before = machine.snapshot()
    error = machine.fail(config, "c1", "eth1", **env)
    assert (error["code"], message in error["msg"]) == (code, True), error
    machine.prefix = []
    if sabotage not in BROKEN_TOOLS:
        assert machine.snapshot() == before
    assert without_rules(machine.snapshot()) == without_rules(before)
    assert set(machine.rules()) >= set(before["rules"])  # type: ignore[call-overload]
    machine.delete(good, "c1", "eth1")
    if sabotage is not switches_are_read_only:
        machine.check(good, "c1")
        machine.check(good, "c2")
    machine.delete(good, "c1")
    machine.delete(good, "c2")
    assert machine.rules() == []
    assert machine.tables() == set()
    assert machine.remembered() == set()


@pytest.mark.parametrize("is_there", [False, True])
def test_an_ipam_plugin_that_was_not_run_left_no_address(machine: Machine, is_there: bool) -> None:
    path = machine.make_plugin("")
    if is_there:
        for plugin in machine.directory.glob("plugins-*/host-local"):
            plugin.chmod(0o644)
    error = machine.fail(machine.config(), CNI_PATH=path if is_there else "/nowhere")
    assert ("cannot execute" if is_there else "failed to find plugin") in error["msg"]
    assert "could not remove" not in error.get("details", "")


def test_an_interface_that_is_there_is_kept(machine: Machine) -> None:
    config = machine.config()
    result = machine.add(config)
    before = machine.snapshot()
    error = machine.fail(config)
    port = result["interfaces"][1]["name"]
    assert error["code"] == 7
    assert error["msg"] == f'container veth name ("eth0") peer provided ("{port}") already exists'
    assert machine.snapshot() == before
    machine.check(config)


def test_the_same_attachment_from_another_namespace_is_refused(machine: Machine) -> None:
    config = machine.config()
    machine.add(config)
    before = machine.snapshot()
    error = machine.fail(config, CNI_NETNS=machine.container("other").path)
    assert "already exists" in error["msg"]
    assert "DEL" in error["details"]
    after = machine.snapshot()
    assert {key: after[key] for key in ("links", "leases", "records", "rules")} == {
        key: before[key] for key in ("links", "leases", "records", "rules")
    }
    machine.check(config)


def test_the_same_attachment_twice_at_once(machine: Machine) -> None:
    """Two runtimes, or one that lost patience: one ADD wins, and the other takes nothing of it away."""
    config = machine.config()
    for number in range(5):
        container = f"c{number}"
        machine.container(container)
        calls = [machine.start("ADD", config, container) for _ in range(3)]
        answers = [call.finish() for call in calls]
        winners = [answer for answer in answers if answer.status == 0]
        assert len(winners) == 1, answers
        machine.check(config | {"prevResult": winners[0].json}, container)
        machine.delete(config, container)
        assert machine.leases() == set()
        assert machine.remembered() == set()


@pytest.mark.parametrize(
    ("keys", "code", "message"),
    [
        ({"mtu": "1500"}, 7, "cannot unmarshal string into Go struct field NetConf.mtu of type int"),
        ({"mtu": -1}, 7, "invalid mtu -1"),
        ({"hairpinMode": True, "promiscMode": True}, 7, "cannot set hairpin mode and promiscuous mode"),
        ({"bridge": "a-name-of-sixteen"}, 7, 'invalid bridge name "a-name-of-sixteen"'),
        ({"vlan": 4095}, 7, "invalid VLAN ID 4095 (must be between 0 and 4094)"),
        ({"ipMasqBackend": "foo"}, 7, 'unknown ipmasq backend "foo"'),
        ({"runtimeConfig": {"mac": "zz"}}, 7, "failed to make veth pair: address zz: invalid MAC address"),
        (
            {"disableContainerInterface": True},
            7,
            "cannot use IPAM when DisableContainerInterface flag is set",
        ),
        ({"ipam": []}, 7, "cannot unmarshal array into Go struct field NetConf.ipam of type object"),
    ],
)
def test_bad_configurations_are_refused_before_anything_is_done(
    machine: Machine, keys: Config, code: int, message: str
) -> None:
    before = machine.snapshot()
    error = machine.fail(machine.config(**keys))
    assert error["code"] == code
    assert message in error["msg"]
    assert machine.snapshot() == before
