"""shibafu-firewall: which packets get where, and what is there of its rules."""

import time
from collections.abc import Iterator
from json import loads
from pathlib import Path

import pytest

from netns.walled import (
    address,
    assert_open_again,
    attach,
    close_host,
    configure_bridge,
    enter,
    ifname,
    lead_outside_back,
    leave,
    read_chain,
    remembered,
)
from support.machine import Config, Machine, link_iptables
from support.namespaces import Namespace
from support.traffic import OUTSIDE, Outside, can_reach

FAMILIES = [4, 6]


@pytest.fixture
def outside(machine: Machine) -> Iterator[Namespace]:
    world = Outside(machine.host)
    lead_outside_back(world.namespace)
    # Until then the host does not ask for its neighbour's hardware address.
    while "tentative" in machine.host.run("ip", "-6", "addr", "show", "dev", "uplink"):
        time.sleep(0.01)
    yield world.namespace
    world.close()


@pytest.mark.parametrize("version", FAMILIES)
def test_lets_containers_out(machine: Machine, outside: Namespace, version: int) -> None:
    """Where the host forwards nothing else; and answers in, but no connections."""
    close_host(machine)
    config = attach(machine)
    inside = machine.container()
    assert not can_reach(outside, OUTSIDE[version], inside)
    machine.add(config, ifname=ifname("a"))
    assert can_reach(outside, OUTSIDE[version], inside)
    assert not can_reach(inside, address(config, version), outside)
    leave(machine, config)
    assert_open_again(machine)


@pytest.mark.parametrize("version", FAMILIES)
@pytest.mark.parametrize("policy", ["same-bridge", "isolated"])
def test_isolation(machine: Machine, version: int, policy: str) -> None:
    a = enter(machine, "a", "c1", ingressPolicy=policy)
    b = enter(machine, "b", "c2", ingressPolicy=policy)
    c = enter(machine, "c", "c3")
    one, two, three = (machine.container(name) for name in ("c1", "c2", "c3"))
    assert not can_reach(two, address(b, version), one)
    assert not can_reach(one, address(a, version), two)
    # An open network is not kept apart.
    assert can_reach(three, address(c), one)
    assert can_reach(one, address(a), three)
    leave(machine, a)
    leave(machine, b, "c2")
    leave(machine, c, "c3")
    assert_open_again(machine)


def test_legacy_variant(machine: Machine, outside: Namespace, tmp_path: Path) -> None:
    machine.path = link_iptables(tmp_path / "legacy", "legacy")
    close_host(machine)
    configs = {name: enter(machine, container=name, ingressPolicy="same-bridge") for name in ("c1", "c2")}
    assert can_reach(outside, OUTSIDE[6], machine.container())
    other = enter(machine, "b", "c3", ingressPolicy="same-bridge")
    assert not can_reach(machine.container("c3"), address(other), machine.container())
    for name, config in configs.items():
        machine.check(config, name, ifname("a"))
    for name, config in configs.items():
        leave(machine, config, name)
    leave(machine, other, "c3")
    assert_open_again(machine)


@pytest.mark.parametrize("isolate", [True, "strict"])
def test_bridge_s_isolation_holds(machine: Machine, isolate: bool | str) -> None:
    """What lets a network through is behind what isolates it."""
    configs = {}
    for network, container in (("a", "c1"), ("b", "c2")):
        configs[network] = enter(machine, network, container, bridge={"isolate": isolate})
    one, two = machine.container("c1"), machine.container("c2")
    assert not can_reach(two, address(configs["b"]), one)
    assert not can_reach(one, address(configs["a"]), two)
    for network, container in (("a", "c1"), ("b", "c2")):
        machine.check(configs[network], container, ifname(network))


@pytest.mark.parametrize("version", FAMILIES)
def test_containers_of_a_bridge_are_isolated(machine: Machine, version: int) -> None:
    """With br_netfilter off; they still reach the gateway."""
    for family in ("iptables", "ip6tables"):
        machine.host.run("sysctl", "-qw", f"net.bridge.bridge-nf-call-{family}=0")
    configs = {name: enter(machine, "a", name, ingressPolicy="isolated") for name in ("c1", "c2", "c3")}
    one, two, three = (machine.container(name) for name in configs)
    assert not can_reach(two, address(configs["c2"], version), one)
    assert not can_reach(one, address(configs["c1"], version), two)
    assert can_reach(machine.host, {4: "10.1.0.1", 6: "fd00:1::1"}[version], one)
    leave(machine, configs["c1"])
    assert not can_reach(three, address(configs["c3"], version), two)
    machine.check(configs["c2"], "c2", ifname("a"))
    machine.host.run("nft", "delete", "table", *read_port_table(machine))
    assert can_reach(three, address(configs["c3"], version), two)
    error = machine.fail(configs["c2"], "c2", ifname("a"), "CHECK")
    assert error["msg"] == "containers of network a are not isolated from each other"
    again = enter(machine, "a", "c1", ingressPolicy="isolated")
    assert not can_reach(three, address(configs["c3"], version), two)
    for name, config in {**configs, "c1": again}.items():
        leave(machine, config, name)
    assert_open_again(machine)


def read_port_table(machine: Machine) -> list[str]:
    """Return family and name of the table that keeps containers apart."""
    (table,) = (name for name in machine.tables() if name.endswith("-ports"))
    return table.split()[1:]


def test_isolation_ends(machine: Machine) -> None:
    config = enter(machine, "a", "c1", ingressPolicy="isolated")
    enter(machine, "a", "c2", ingressPolicy="same-bridge")
    assert machine.tables() == set()
    assert can_reach(machine.container("c1"), address(config), machine.container("c2"))


def test_behind_a_bridge_with_rules_of_its_own(machine: Machine, outside: Namespace) -> None:
    close_host(machine)
    config = enter(machine, bridge={"ipMasq": True}, ingressPolicy="same-bridge")
    assert can_reach(outside, OUTSIDE[4], machine.container())
    machine.check(config, ifname=ifname("a"))
    machine.plugin = machine.suite.bridge
    bridge = configure_bridge(machine, "a") | {"ipMasq": True, "prevResult": config["prevResult"]}
    machine.check(bridge, ifname=ifname("a"))
    leave(machine, config)
    assert_open_again(machine)


def test_rules_are_the_network_s(machine: Machine) -> None:
    """Their number does not grow with the containers'."""
    configs = {"c1": enter(machine)}
    rules = machine.rules()
    for container in ("c2", "c3"):
        configs[container] = enter(machine, container=container)
        assert machine.rules() == rules
    for container in ("c1", "c3"):
        leave(machine, configs.pop(container), container)
        assert machine.rules() == rules
        machine.check(configs["c2"], "c2", ifname("a"))
    leave(machine, configs["c2"], "c2")
    assert_open_again(machine)


def test_a_bridge_with_an_uplink(machine: Machine) -> None:
    """Others may be in its subnet: each container is let through by itself, and its rules go with it."""
    machine.host.run("ip", "link", "add", "br-a", "type", "bridge")
    machine.host.run("ip", "link", "add", "lan", "master", "br-a", "type", "ifb")
    first, second = enter(machine, container="c1"), enter(machine, container="c2")
    for config, container in ((first, "c1"), (second, "c2")):
        machine.check(config, container, ifname("a"))
    chain = read_chain(machine, "FORWARD")[-1].split()[-1]
    accepted = [f"-s {address(config)}/32 -j ACCEPT" for config in (first, second)]
    assert [rule for rule in read_chain(machine, chain) if rule.startswith("-s")] == accepted
    leave(machine, first)
    assert [rule for rule in read_chain(machine, chain) if rule.startswith("-s")] == accepted[1:]
    machine.check(second, "c2", ifname("a"))
    leave(machine, second, "c2")
    assert_open_again(machine)


def test_many_at_a_time(machine: Machine) -> None:
    """They make nothing twice, and leave nothing."""
    names = [f"c{number}" for number in range(8)]
    configs = {name: attach(machine, container=name) | {"ingressPolicy": "isolated"} for name in names}
    for command in ("ADD", "DEL"):
        calls = [machine.start(command, config, name, ifname("a")) for name, config in configs.items()]
        assert [call.finish().status for call in calls] == [0] * len(calls)
        if command == "ADD":
            rules = machine.rules()
            assert len(rules) == len(set(rules))
            for name, config in configs.items():
                machine.check(config, name, ifname("a"))
    assert_open_again(machine)


def test_two_leave_at_a_time(machine: Machine) -> None:
    """What one has listed the other forgets before it is read: then nobody is left, and nothing is to be."""
    if machine.suite.has_engine:
        pytest.skip("another process than the traced one does the call")
    first, second = enter(machine, container="c1"), enter(machine, container="c2")
    kept = Path("/run/shibafu/firewall") / machine.records.name / "a"
    records = {path: loads(path.read_text())["containerID"] for path in kept.glob("veth*")}
    ours, others = sorted(records, key=lambda path: records[path])
    slow = "--inject=openat:delay_enter=500000"
    machine.prefix = ["/usr/bin/strace", "-o", "/dev/null", "-P", str(others), slow]
    call = machine.start("DEL", first, "c1", ifname("a"))
    while b'"leaving"' not in ours.read_bytes():
        time.sleep(0.001)
    time.sleep(0.1)
    others.unlink()
    assert call.finish().status == 0
    machine.prefix = []
    assert_open_again(machine)
    leave(machine, second, "c2")


def test_administrator_s_chain_comes_first(machine: Machine, outside: Namespace) -> None:
    config = enter(machine)
    machine.iptables("-A", "CNI-ADMIN", "-d", OUTSIDE[4], "-j", "DROP")
    inside = machine.container()
    assert not can_reach(outside, OUTSIDE[4], inside)
    assert can_reach(outside, OUTSIDE[6], inside)
    machine.check(config, ifname=ifname("a"))
    leave(machine, config)
    # What the administrator has made stays, and counts for the next container.
    assert machine.rules() == [
        "iptables :CNI-ADMIN -",
        f"iptables -A CNI-ADMIN -d {OUTSIDE[4]}/32 -j DROP",
    ]
    enter(machine)
    assert not can_reach(outside, OUTSIDE[4], inside)


def test_two_administrator_s_chains(machine: Machine) -> None:
    a, b = enter(machine, "a"), enter(machine, "b", iptablesAdminChainName="MY-ADMIN")
    assert {rule.split()[-1] for rule in read_chain(machine, "CNI-FORWARD")} == {"CNI-ADMIN", "MY-ADMIN"}
    leave(machine, b)
    assert "iptables :MY-ADMIN -" not in machine.rules()
    machine.check(a, ifname=ifname("a"))
    leave(machine, a)
    assert_open_again(machine)


@pytest.mark.parametrize("netns", [{}, {"CNI_NETNS": ""}], ids=str)
@pytest.mark.parametrize("knows_result", [True, False])
@pytest.mark.parametrize("policy", ["open", "isolated"])
def test_del(machine: Machine, netns: dict[str, str], knows_result: bool, policy: str) -> None:
    config = enter(machine, ingressPolicy=policy)
    known = config if knows_result else {key: config[key] for key in config if key != "prevResult"}
    leave(machine, known, **netns)
    assert_open_again(machine)
    leave(machine, known, **netns)
    assert_open_again(machine)


def test_del_after_the_container_s_end(machine: Machine) -> None:
    config = enter(machine)
    machine.container().delete()
    leave(machine, config, CNI_NETNS="")
    assert_open_again(machine)


def test_del_of_a_configuration_that_add_refuses(machine: Machine) -> None:
    config = enter(machine)
    leave(machine, config | {"ingressPolicy": "zzz", "iptablesAdminChainName": 5, "prevResult": {"ips": 5}})
    assert_open_again(machine)


def test_del_without_records(machine: Machine) -> None:
    """They may be lost; what other containers need stays as long as one is on the bridge."""
    first, second = enter(machine, container="c1"), enter(machine, container="c2")
    rules = machine.rules()
    forget(machine)
    leave(machine, first)
    assert machine.rules() == rules
    leave(machine, second, "c2")
    assert_open_again(machine)


def forget(machine: Machine) -> None:
    """Lose what the plugin remembers."""
    root = f"/run/shibafu/firewall/{machine.records.name}"
    machine.host.run("find", root, "-mindepth", "1", "-delete")


@pytest.mark.parametrize("policy", ["open", "same-bridge"])
def test_gc(machine: Machine, policy: str) -> None:
    keys = {"ingressPolicy": policy, "cniVersion": "1.1.0"}
    enter(machine, container="c1")
    config = enter(machine, container="c2", **keys_of(policy))
    rules = machine.rules()
    bare = {key: config[key] for key in config if key != "prevResult"} | keys
    machine.collect_garbage(bare, ("c2", ifname("a")))
    assert machine.rules() == rules
    assert len([name for name in remembered(machine) if "veth" in name]) == 1
    machine.collect_garbage(bare)
    assert_open_again(machine)


def keys_of(policy: str) -> Config:
    """Return the keys of a policy."""
    return {"ingressPolicy": policy}


BREAKAGES = {
    "jump": "-D FORWARD -m comment --comment 'CNI firewall plugin rules' -j CNI-FORWARD",
    "stage jump": "-D FORWARD 1",
    "order": "-I FORWARD 1 -m comment --comment 'shibafu network x' -j ACCEPT",
    "administrator's": "-D CNI-FORWARD 1",
    "network's jump": "-D FORWARD -m comment --comment 'shibafu network a' -j {chain}",
    "behind another's": "-A FORWARD -m comment --comment 'shibafu network x' -j DROP",
    "before the administrator's": "-I CNI-FORWARD 1 -j ACCEPT",
    "network's rule": "-D {chain} 1",
    "stray": "-A {chain} -j DROP",
    "empty": "-F {chain}",
    "stage": "-D CNI-ISOLATION-STAGE-1 1",
    "returns first": "-I CNI-ISOLATION-STAGE-1 1 {end}",
    "second stage": "-D CNI-ISOLATION-STAGE-2 1",
}


@pytest.mark.parametrize("family", ["iptables", pytest.param("ip6tables", marks=pytest.mark.long)])
@pytest.mark.parametrize("breakage", BREAKAGES)
def test_check(machine: Machine, family: str, breakage: str) -> None:
    """It sees what is wrong and changes nothing; the next ADD mends it."""
    config = enter(machine, ingressPolicy="same-bridge")
    machine.check(config, ifname=ifname("a"))
    before = machine.rules()
    chain = read_chain(machine, "FORWARD", family)[-1].split()[-1]
    end = "-m comment --comment 'CNI firewall plugin rules (ingressPolicy: same-bridge)' -j RETURN"
    machine.iptables(*BREAKAGES[breakage].format(chain=chain, end=end).split(" "), family=family)
    broken = machine.rules()
    assert broken != before
    error = machine.fail(config, ifname=ifname("a"), command="CHECK")
    assert error["msg"] == "firewall rules of network a are missing or changed"
    assert error["details"].startswith(f"{family}-restore: ")
    assert machine.rules() == broken
    other = enter(machine, container="c2", ingressPolicy="same-bridge")
    machine.check(config, ifname=ifname("a"))
    leave(machine, other, "c2")


def test_policy_is_the_network_s_as_configured_now(machine: Machine) -> None:
    a, b = (
        enter(machine, "a", "c1", ingressPolicy="same-bridge"),
        enter(machine, "b", "c2", ingressPolicy="same-bridge"),
    )
    one, two = machine.container("c1"), machine.container("c2")
    assert not can_reach(two, address(b), one)
    machine.add(a | {"ingressPolicy": "open"}, "c1", ifname("a"))
    assert can_reach(two, address(b), one)
    machine.add(a | {"ingressPolicy": "isolated"}, "c1", ifname("a"))
    assert not can_reach(two, address(b), one)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"ingressPolicy": "zzz"}, 'unknown ingress policy: "zzz"'),
        ({"prevResult": None}, "missing prevResult from earlier plugin"),
        (
            {"ingressPolicy": "same-bridge", "prevResult": {"cniVersion": "1.0.0"}},
            'interface needs to be set for ingress policy "same-bridge", '
            'make sure to chain "firewall" plugin with "bridge"',
        ),
        (
            {
                "ingressPolicy": "isolated",
                "prevResult": {"cniVersion": "1.0.0", "interfaces": [{"name": ""}]},
            },
            "got empty bridge name",
        ),
        (
            {
                "ingressPolicy": "same-bridge",
                "prevResult": {"cniVersion": "1.0.0", "interfaces": [{"name": "x -j DROP"}]},
            },
            'no rules can be made for bridge "x -j DROP"',
        ),
        ({"iptablesAdminChainName": "A B"}, '"iptablesAdminChainName" is not the name of a chain: "A B"'),
    ],
    ids=str,
)
def test_refusals(machine: Machine, keys: Config, message: str) -> None:
    config = attach(machine)
    assert machine.fail(config | keys, ifname=ifname("a"))["msg"] == message
    assert_open_again(machine)
