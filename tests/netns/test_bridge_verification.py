"""Rules that were found right are not looked at again before anything in nf_tables has changed."""

import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import shibafu
import shibafu_ipam
from shibafu.cni.names import calc_chain
from shibafu.netfilter.generation import GenerationWatch
from support.counted_programs import Programs
from support.machine import Config, Machine, link_iptables
from support.namespaces import Namespace
from support.suite import Suite
from support.traffic import OUTSIDE, UPLINK, Outside, ask_source
from support.waiting import wait_for

BOOT_ID = "/proc/sys/kernel/random/boot_id"


@contextmanager
def open_machine(suite: Suite, directory: Path, path: str) -> Iterator[Machine]:
    with Namespace("host") as host:
        made = Machine(suite, host, directory, path)
        yield made
        made.close()


@pytest.fixture
def programs(tmp_path: Path) -> Programs:
    """The programs of iptables' variant nft."""
    return Programs(tmp_path / "programs", "nft")


@pytest.fixture
def machine(suite: Suite, tmp_path: Path, programs: Programs) -> Iterator[Machine]:
    """A host on which programs are counted."""
    with open_machine(suite, tmp_path, programs.path) as made:
        yield made


@pytest.fixture
def config(machine: Machine, programs: Programs) -> Config:
    """A dual-stack NAT network with a container, whose rules are verified."""
    config = machine.config("10.10.0.0/24", "fd00:10::/64")
    machine.add(config, "c1")
    assert programs.count() == 2
    return config


def find_hint(machine: Machine) -> Path:
    return machine.records / "net/verified"


def masquerades(machine: Machine, outside: Outside, container: str) -> bool:
    return all(
        ask_source(outside.namespace, OUTSIDE[version], machine.container(container), socket.SOCK_DGRAM)
        == UPLINK[version]
        for version in (4, 6)
    )


def test_nothing_is_started_as_long_as_nothing_changes(
    machine: Machine, programs: Programs, config: Config, outside: Outside
) -> None:
    for container in ("c2", "c3"):
        machine.add(config, container)
        machine.check(config, container)
    machine.check(config, "c1")
    machine.delete(config, "c2")
    machine.add(config, "c4")
    assert programs.count() == 0
    assert masquerades(machine, outside, "c4")


@pytest.mark.parametrize(
    "keys",
    [
        {"ipMasqBackend": "nftables"},
        {"ipMasq": False, "isolate": True},
        {"isolate": "strict"},
        {"ipMasqBackend": "nftables", "isolate": "strict"},
    ],
    ids=str,
)
def test_whatever_the_rules_are(machine: Machine, programs: Programs, keys: Config) -> None:
    config = machine.config("10.10.0.0/24", "fd00:10::/64", **keys)
    machine.add(config, "c1")
    assert programs.count() > 0
    machine.add(config, "c2")
    machine.check(config, "c1")
    machine.check(config, "c2")
    assert programs.count() == 0
    machine.host.run("nft", "flush", "ruleset")
    assert "firewall rules of network net" in machine.fail(config, "c1", command="CHECK")["msg"]
    machine.add(config, "c3")
    programs.count()
    machine.check(config, "c1")
    assert programs.count() == 0


FOREIGN = (
    "nft add table ip foreign; nft add chain ip foreign some",
    "iptables -t nat -N OTHER; iptables -t nat -A OTHER -s 192.0.2.1 -j RETURN",
    "ip6tables -N OTHER; ip6tables -Z",
)


@pytest.mark.parametrize("foreign", FOREIGN)
def test_what_others_change_elsewhere_causes_no_look(
    machine: Machine, programs: Programs, config: Config, outside: Outside, foreign: str
) -> None:
    for verb in (machine.add, machine.check):
        machine.host.run("sh", "-ec", foreign if verb == machine.add else "nft add table ip another")
        verb(config, "c2")
        machine.check(config, "c1")
        # Which the rules count.
        assert masquerades(machine, outside, "c2")
    machine.host.run("nft", "delete table ip another")
    machine.add(config, "c3")
    assert programs.count() == 0


def test_a_rule_of_others_in_a_chain_of_the_kernel_s_causes_one_look(
    machine: Machine, programs: Programs, config: Config
) -> None:
    for container, verb in (("c2", machine.add), ("c1", machine.check)):
        machine.host.run("iptables", "-A", "FORWARD", "-s", "192.0.2.1", "-j", "ACCEPT")
        verb(config, container)
        assert programs.count() == 2
        machine.check(config, "c1")
        machine.check(config, "c2")
        machine.add(config, f"{container}-beside")
        assert programs.count() == 0


BREAKAGES: dict[str, tuple[str, ...]] = {
    "flush of a chain of the kernel's": ("iptables -F FORWARD",),
    "flush of nat": ("iptables -t nat -F",),
    "flush of IPv6": ("ip6tables -F",),
    "one rule deleted": ("nft flush chain ip nat {chain}",),
    "one rule replaced": ("iptables -t nat -R {chain} 1 -j RETURN",),
    "a jump deleted": ("iptables -S FORWARD | sed -n '/{chain}$/{{ s/^-A/-D/p; q }}' | xargs iptables",),
    "a shorter way deleted": (
        "iptables -S FORWARD | sed -n '/^-A.*ACCEPT$/{{ s/^-A/-D/p; q }}' | xargs iptables",
    ),
    "a rule of others among them": ("ip6tables -I {chain} -j ACCEPT",),
    "all of nf_tables": ("nft flush ruleset",),
}


@pytest.mark.parametrize("commands", BREAKAGES.values(), ids=BREAKAGES)
def test_what_is_broken_is_seen_and_made_again(
    machine: Machine, programs: Programs, config: Config, outside: Outside, commands: tuple[str, ...]
) -> None:
    chain = calc_chain("net")
    before = sorted(machine.rules())
    for command in commands:
        machine.host.run("sh", "-ec", command.format(chain=chain))
    assert sorted(machine.rules()) != before
    for _ in range(2):
        assert "firewall rules of network net" in machine.fail(config, "c1", command="CHECK")["msg"]
    machine.add(config, "c2")
    assert sorted(machine.rules()) == before
    programs.count()
    machine.check(config, "c1")
    assert programs.count() == 0
    assert masquerades(machine, outside, "c1")
    assert masquerades(machine, outside, "c2")


def test_a_flush_during_add_is_noticed(
    machine: Machine, programs: Programs, config: Config, outside: Outside
) -> None:
    if machine.suite.has_engine:
        pytest.skip("another process than the traced one does the call")
    machine.prefix = ["/usr/bin/strace", "--quiet=all", "--output=/dev/null"]
    machine.prefix += ["--trace=setns", "--inject=setns:delay_enter=300000"]
    before, links = sorted(machine.rules()), set(machine.links())
    call = machine.start("ADD", config, "c2")
    wait_for(lambda: set(machine.links()) != links)  # the rules were taken for right before that
    assert programs.count() == 0
    machine.host.run("nft", "flush", "ruleset")
    answer = call.finish()
    assert answer.status == 0, answer
    assert sorted(machine.rules()) == before
    assert masquerades(machine, outside, "c2")


@pytest.mark.usefixtures("outside")
def test_others_that_drop_are_seen_whatever_is_known_of_our_rules(
    machine: Machine, programs: Programs, config: Config
) -> None:
    drop = "{ type filter hook forward priority 0; policy drop; }"
    machine.host.run("nft", f"add table inet other; add chain inet other forward {drop}")
    for _ in range(2):
        assert "other" in machine.fail(config, "c1", command="CHECK")["msg"]
    machine.host.run("nft", "delete table inet other")
    machine.check(config, "c1")


@pytest.mark.usefixtures("outside")
def test_others_that_dropped_before_the_rules_were_made_are_seen(machine: Machine) -> None:
    drop = "{ type filter hook forward priority 0; policy drop; }"
    machine.host.run("nft", f"add table inet other; add chain inet other forward {drop}")
    config = machine.config("10.10.0.0/24", "fd00:10::/64")
    machine.add(config, "c1")
    for _ in range(2):
        assert "other" in machine.fail(config, "c1", command="CHECK")["msg"]
    machine.host.run("nft", "add chain inet other forward { policy accept; }")
    machine.check(config, "c1")


@pytest.mark.usefixtures("outside")
def test_the_legacy_variant_of_others_is_seen_though_it_has_no_generation(
    machine: Machine, config: Config
) -> None:
    machine.check(config, "c1")
    machine.host.run("iptables-legacy", "-P", "FORWARD", "DROP")
    assert "FORWARD" in machine.fail(config, "c1", command="CHECK")["msg"]


def test_the_legacy_variant_is_looked_at_each_time(suite: Suite, tmp_path: Path) -> None:
    programs = Programs(tmp_path / "programs", "legacy")
    with open_machine(suite, tmp_path, programs.path) as machine:
        config = machine.config("10.10.0.0/24", "fd00:10::/64")
        machine.add(config, "c1")
        for call in (machine.add, machine.check):
            programs.count()
            call(config, "c2")
            assert programs.count() == 2
        machine.iptables("-t nat -F")
        assert "are missing" in machine.fail(config, "c1", command="CHECK")["msg"]


def test_other_programs_look_for_themselves(machine: Machine, programs: Programs, config: Config) -> None:
    """The legacy variant does not see what the other one has made."""
    legacy = link_iptables(machine.directory / "legacy", "legacy")
    error = machine.fail(config, "c1", command="CHECK", PATH=legacy)
    assert error["msg"] == "firewall rules of network net are missing"
    machine.check(config, "c1")


def test_a_program_that_was_written_over_looks_for_itself(
    machine: Machine, programs: Programs, config: Config
) -> None:
    programs.write_over()
    machine.check(config, "c1")
    assert programs.count() == 2
    machine.check(config, "c1")
    assert programs.count() == 0


@pytest.mark.parametrize(
    "spoil",
    [
        lambda hint: hint.write_bytes(b""),
        lambda hint: hint.write_bytes(b"\xff" * 32),
        lambda hint: hint.write_bytes(hint.read_bytes()[1:] * 1000),
        lambda hint: hint.write_bytes(hint.read_bytes()[:20]),
        lambda hint: (hint.unlink(), hint.mkdir()),
        lambda hint: subprocess.run(["sh", "-c", f"rm {hint} && mkfifo {hint}"], check=True),
        lambda hint: (hint.unlink(), hint.symlink_to("/etc/passwd")),
    ],
    ids=["empty", "no text", "long", "cut off", "directory", "FIFO", "symbolic link"],
)
def test_a_hint_that_makes_no_sense(
    machine: Machine, programs: Programs, config: Config, spoil: Callable[[Path], object]
) -> None:
    spoil(find_hint(machine))
    machine.check(config, "c1")
    assert programs.count() == 2
    machine.add(config, "c2")
    programs.count()
    machine.check(config, "c1")
    assert programs.count() == 0
    machine.delete(config, "c1")
    machine.delete(config, "c2")
    assert machine.remembered() == set()


def test_only_its_owner_reads_it(machine: Machine, config: Config) -> None:
    status = find_hint(machine).stat()
    assert (status.st_mode & 0o777, status.st_uid) == (0o600, 0)


def test_check_makes_no_hint(machine: Machine, programs: Programs, config: Config) -> None:
    """It could outlive the network's last record."""
    find_hint(machine).unlink()
    before = machine.snapshot()
    programs.count()
    machine.check(config, "c1")
    assert programs.count() == 2
    assert machine.snapshot() == before


def test_records_that_cannot_be_written_to(machine: Machine, programs: Programs, config: Config) -> None:
    machine.host.run("iptables", "-A", "FORWARD", "-s", "192.0.2.1", "-j", "ACCEPT")
    machine.hide("mount --bind /run/shibafu /run/shibafu", "mount -o remount,bind,ro /run/shibafu")
    for _ in range(2):
        machine.check(config, "c1")
        assert programs.count() == 2


def test_another_boot_s_hint(machine: Machine, programs: Programs, config: Config) -> None:
    (machine.records / ".netns").unlink()  # with it, all records would go
    other = machine.directory / "boot_id"
    other.write_text("01234567-89ab-cdef-0123-456789abcdef\n")
    machine.hide(f"mount --bind {other} {BOOT_ID}")
    machine.check(config, "c1")
    assert programs.count() == 2


def test_another_version_s_hint(machine: Machine, programs: Programs, config: Config, tmp_path: Path) -> None:
    """It may make other rules of the same needs."""
    if machine.suite.is_built:
        pytest.skip("there is one version of the executables")
    for package in (shibafu, shibafu_ipam):
        shutil.copytree(package.__path__[0], tmp_path / "other" / package.__name__)
    (tmp_path / "bin").mkdir()
    machine.suite = Suite.of_roots(tmp_path / "bin", tmp_path / "other", tmp_path / "other")
    machine.cni_path = str(machine.suite.directory)
    machine.check(config, "c1")
    assert programs.count() == 2
    machine.check(config, "c1")
    assert programs.count() == 0


def test_another_namespace_s_hint(machine: Machine, programs: Programs, config: Config, suite: Suite) -> None:
    with open_machine(suite, machine.directory, machine.path) as other:
        # As it would lie there after the former namespace of its number.
        shutil.copytree(machine.records / "net", other.records / "net")
        for number in range(read_generation(machine) - read_generation(other)):
            other.host.run("nft", f"add table ip foreign{number}")
        assert read_generation(other) == read_generation(machine)
        answer = other.call("CHECK", config | {"prevResult": machine._results["net", "c1", "eth0"]}, "c1")
        assert answer.status == 1
        assert programs.count() == 2


def read_generation(machine: Machine) -> int:
    with machine.host.enter():
        watch = GenerationWatch()
    generation = watch.ask()
    watch.close()
    return generation


@pytest.mark.parametrize("key", ["macspoofchk", "internal"])
def test_guards_of_ports(machine: Machine, programs: Programs, key: str) -> None:
    keys: Config = {"isDefaultGateway": False, "ipMasq": False} if key == "internal" else {}
    config = machine.config(**keys, **{key: True})
    for container in ("c1", "c2"):
        machine.add(config, container)
    # What was added for the second changed nf_tables for the first, too.
    for container in ("c1", "c2"):
        machine.check(config, container)
    programs.count()
    for container in ("c1", "c2"):
        machine.check(config, container)
    assert programs.count() == 0
    # nft makes the guard, which changes nf_tables; what else the network has is compared by a dump.
    machine.add(config, "c4")
    assert programs.count() == (key == "macspoofchk")
    machine.delete(config, "c4")
    machine.host.run("nft", "flush ruleset")
    for _ in range(2):
        assert machine.fail(config, "c1", command="CHECK")["msg"]
    machine.add(config, "c3")
    for container in ("c1", "c2", "c3"):
        machine.check(config, container)
        machine.delete(config, container)
    assert machine.remembered() == set()


def test_an_element_of_a_guard_that_was_deleted(machine: Machine, programs: Programs) -> None:
    config = machine.config(macspoofchk=True)
    result = machine.add(config, "c1")
    machine.check(config, "c1")
    (table,) = (name for name in machine.tables() if name.startswith("table bridge"))
    port = result["interfaces"][1]["name"]
    machine.host.run("nft", f"delete element {table.removeprefix('table ')} ports {{ {port} }}")
    for _ in range(2):
        assert "MAC spoof check" in machine.fail(config, "c1", command="CHECK")["msg"]


def test_an_internal_network_s_second_container(machine: Machine, programs: Programs) -> None:
    config = machine.config(isDefaultGateway=False, ipMasq=False, internal=True)
    machine.add(config, "c1")
    programs.count()
    machine.add(config, "c2")
    assert programs.count() == 0
