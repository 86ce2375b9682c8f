"""An upgrade while containers run: they were attached by a release that wrote records of version 1.

Its records are made from today's, since they are a part of them. In the long mode, the release writes them.
"""

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from json import dumps, loads
from pathlib import Path

import pytest

from shibafu.cni.names import calc_chain
from support.command import CommandLine
from support.machine import Config, Machine
from support.namespaces import Namespace
from support.remains import assert_no_rules
from support.suite import Suite
from support.traffic import OUTSIDE, Outside, can_reach

# The last one that wrote version 1.
RELEASE = "7cdea31"
CHANGELOG = Path(__file__).parent.parent.parent / "CHANGELOG.md"
DOWNGRADE = re.compile(r"After a downgrade.*?`(for .*?done)`", re.DOTALL)
KEYS = ("containerID", "ifname", "netns", "bridge", "mac", "macspoofchk", "internal", "ips")
SUBNETS = ("10.66.0.0/24", "fd66::/64")
GATEWAYS = ("10.66.0.1", "fd66::1")

Attach = Callable[..., None]


def rewrite(records: Path) -> None:
    """Make what is remembered what the earlier release would remember."""
    for path in records.glob("*/veth*"):
        record = loads(path.read_text())
        path.write_text(dumps({key: record[key] for key in KEYS}, indent=4))
    (records / ".netns").unlink(missing_ok=True)


def extract_release(directory: Path) -> Suite:
    """Return the plugins of the earlier release."""
    root = Path(__file__).parent.parent.parent
    archive = ["git", "-C", str(root), "archive", RELEASE, "plugins", "ipam"]
    done = subprocess.run(archive, capture_output=True, check=False)
    if done.returncode:
        pytest.skip("there is no history of the sources")
    for made in ("release", "bin"):
        (directory / made).mkdir()
    subprocess.run(["tar", "-xC", directory / "release"], input=done.stdout, check=True)
    return Suite.of_roots(directory / "bin", directory / "release/plugins", directory / "release/ipam")


@pytest.fixture(params=["its records", pytest.param("its plugins", marks=pytest.mark.long)])
def attach(request: pytest.FixtureRequest, machine: Machine, tmp_path: Path) -> Attach:
    """Attach containers as the earlier release does."""
    today = machine.suite

    def add(config: Config, *containers: str) -> None:
        if request.param == "its plugins":
            machine.suite = extract_release(tmp_path)
            machine.cni_path = str(machine.suite.directory)
        for container in containers:
            machine.add(config, container)
        machine.suite, machine.cni_path = today, str(today.directory)
        if request.param == "its records":
            rewrite(machine.records)
        assert not any("phase" in path.read_text() for path in machine.records.glob("*/veth*"))

    return add


@pytest.fixture(params=[{}, {"macspoofchk": True, "isolate": True}, {"ipMasq": False}], ids=str)
def config(machine: Machine, request: pytest.FixtureRequest) -> Config:
    return machine.config(*SUBNETS, **request.param)


def assert_traffic(machine: Machine, container: str) -> None:
    for gateway in GATEWAYS:
        assert can_reach(machine.host, gateway, machine.container(container))


@pytest.mark.parametrize("removal", ["DEL", "DEL without namespace", "GC"])
def test_containers_go_on_and_leave_nothing(
    machine: Machine, config: Config, attach: Attach, removal: str
) -> None:
    before = machine.snapshot()
    attach(config, "c1", "c2")
    # Makes the rules that the earlier release did not have, too.
    machine.add(config, "c3")
    for container in ("c1", "c2", "c3"):
        machine.check(config, container)
        assert_traffic(machine, container)
    if removal == "GC":
        machine.collect_garbage(config, ("c2", "eth0"), ("c3", "eth0"))
    else:
        machine.delete(config, "c1", **({"CNI_NETNS": ""} if "without" in removal else {}))
    assert set(machine.links(machine.container("c1"))) == {"lo"}
    for container in ("c2", "c3"):
        machine.check(config, container)
        assert_traffic(machine, container)
    machine.collect_garbage(config)
    after = machine.snapshot()
    for what in ("leases", "rules", "tables", "records"):
        assert after[what] == before[what], what


@pytest.mark.long
def test_the_earlier_release_removes_what_this_one_attached(
    machine: Machine, config: Config, tmp_path: Path
) -> None:
    """Its ADD makes its own rules; of those that it does not know, the changelog tells how to remove them."""
    before = machine.snapshot()
    machine.add(config)
    machine.suite = extract_release(tmp_path)
    machine.cni_path = str(machine.suite.directory)
    machine.add(config, "c2")
    for container in ("c1", "c2"):
        # It looks for the guard of another hardware address than c1 has, as the changelog says.
        if not (container == "c1" and config.get("macspoofchk")):
            machine.check(config, container)
        assert_traffic(machine, container)
        machine.delete(config, container)
    (command,) = DOWNGRADE.findall(CHANGELOG.read_text())
    machine.host.run("bash", "-ec", command)
    after = machine.snapshot()
    for what in ("leases", "tables"):
        assert after[what] == before[what], what
    # The chain that networks share goes with the last one of those to come.
    assert set(machine.rules()) <= {f"{family} :SHIBAFU-ADMIN -" for family in ("iptables", "ip6tables")}


# The rules


# As releases made them whose chains were in the tables filter, nat and raw, by family.
FORMER_RULES = """*filter
:{chain} - [0:0]
:SHIBAFU-ADMIN - [0:0]
-A {chain} -i br0 -j SHIBAFU-ADMIN
-A {chain} ! -i br0 -o br0 -j SHIBAFU-ADMIN
-A {chain} -i br0 -o br0 -j ACCEPT
-A {chain} -i br0 ! -o br0 -m mark --mark {mark} -m conntrack ! --ctstate RELATED,ESTABLISHED -j DROP
-A {chain} -s {subnet} -i br0 -j ACCEPT
-A {chain} -i br0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A {chain} -o br0 -m conntrack --ctstate RELATED,ESTABLISHED,DNAT -j ACCEPT
-I FORWARD 1 {comment} -j {chain}
COMMIT
*nat
:{chain} - [0:0]
-A {chain} -d {subnet} -j RETURN
-A {chain} -s {subnet} ! -d {multicast} -j MASQUERADE
-A POSTROUTING {comment} -j {chain}
COMMIT
*raw
:{chain} - [0:0]
{loopback}-A {chain} -m rpfilter --invert -j MARK --set-xmark {mark}
-I PREROUTING 1 -i br0 {comment} -j {chain}
COMMIT
"""
LOOPBACK = "-A {chain} -d 127.0.0.0/8 -j DROP\n-A {chain} -s 127.0.0.0/8 -j DROP\n"


def make_former_rules(machine: Machine, directory: Path) -> None:
    """Put those of an earlier release in the place of a network's rules."""
    for family, subnet, multicast in zip(
        ("iptables", "ip6tables"), SUBNETS, ("224.0.0.0/4", "ff00::/8"), strict=True
    ):
        for table in ("filter", "nat", "mangle"):
            machine.iptables(f"-t {table} -F", family=family)
            machine.iptables(f"-t {table} -X", family=family)
        chain = calc_chain("net")
        text = FORMER_RULES.format(
            chain=chain,
            subnet=subnet,
            multicast=multicast,
            mark="0x5b1b0000/0xffff0000",
            comment='-m comment --comment "shibafu network net"',
            loopback=LOOPBACK.format(chain=chain) if family == "iptables" else "",
        )
        (directory / family).write_text(text)
        machine.iptables(f"--noflush {directory / family}", family=f"{family}-restore")


@pytest.mark.parametrize("lost", ["a jump", "nothing"])
def test_former_rules_are_replaced(machine: Machine, outside: Outside, tmp_path: Path, lost: str) -> None:
    config = machine.config(*SUBNETS)
    machine.add(config, "c1")
    rules = sorted(machine.rules())
    make_former_rules(machine, tmp_path)
    assert sorted(machine.rules()) != rules
    if lost == "a jump":
        machine.iptables("-t raw -F PREROUTING")
    assert "are missing" in machine.fail(config, "c1", command="CHECK")["msg"]
    machine.add(config, "c2")
    assert sorted(machine.rules()) == rules
    for container in ("c1", "c2"):
        machine.check(config, container)
        assert can_reach(outside.namespace, OUTSIDE[4], machine.container(container))
        assert can_reach(outside.namespace, OUTSIDE[6], machine.container(container))
        machine.delete(config, container)
    assert_no_rules(machine)


@pytest.mark.parametrize("removal", ["DEL", "GC", "GC without records"])
def test_former_rules_go_with_the_last_container(machine: Machine, tmp_path: Path, removal: str) -> None:
    config = machine.config(*SUBNETS)
    machine.add(config)
    make_former_rules(machine, tmp_path)
    if removal == "DEL":
        machine.delete(config)
    else:
        if "without" in removal:
            machine.container().run("ip", "link", "del", "eth0")
            shutil.rmtree(machine.records / "net")
        machine.collect_garbage(config)
    assert_no_rules(machine)


# The command


@pytest.fixture
def shibafu(suite: Suite, host: Namespace, tmp_path: Path) -> Iterator[CommandLine]:
    with CommandLine(suite, host, tmp_path) as made:
        made(f"network create blue --subnet {SUBNETS[0]} --subnet {SUBNETS[1]}")
        yield made


@pytest.fixture
def web() -> Iterator[Namespace]:
    with Namespace("web") as made:
        yield made


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("has_cache", [True, False], ids=["cached result", "no cached result"])
@pytest.mark.parametrize(
    "broken",
    ["ip link del br-blue", "ip link del {port}", pytest.param("iptables -t nat -F", marks=pytest.mark.long)],
)
def test_repair(
    shibafu: CommandLine, host: Namespace, web: Namespace, version: int, has_cache: bool, broken: str
) -> None:
    """What a record of version 1 lacks comes from the cached result, else from the kernel."""
    shibafu(f"network connect blue {web.name}")
    (port,) = (link["ifname"] for link in loads(host.run("ip", "-j", "link", "show", "master", "br-blue")))
    if version == 1:
        rewrite(shibafu.records)
    if not has_cache:
        for path in shibafu.cache_dir.iterdir():
            path.unlink()
    assert shibafu("network repair --dry-run") == "nothing to repair\n"
    before = loads(web.run("ip", "-j", "addr", "show", "eth0"))[0]
    host.run(*broken.format(port=port).split())
    shibafu("network repair")
    assert shibafu("network repair --dry-run") == "nothing to repair\n"
    after = loads(web.run("ip", "-j", "addr", "show", "eth0"))[0]
    assert after["address"] == before["address"]
    for gateway in GATEWAYS:
        assert can_reach(host, gateway, web)
    shibafu(f"network disconnect blue {web.name}")
    assert "eth0" not in web.run("ip", "-br", "link")
