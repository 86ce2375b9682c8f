"""A call of the executables that is killed at any of its system calls: what runtimes do next clears all.

tests/netns/test_bridge_killed.py kills the sources at what changes the system, which is quick. This misses
nothing: whatever a verb comes to do, each system call from reading its configuration to its exit is one where
it ends, alone or with the IPAM plugin that it called.
"""

import itertools
import shlex
import signal
from pathlib import Path

import pytest

from support.chained import ROLES, Chain
from support.killed_calls import REMEDIES, assert_clean, assert_same, remedy
from support.machine import Answer, Config, Machine
from support.suite import Suite

pytestmark = pytest.mark.usefixtures("is_cold")

# A network with all that a call can make, and one with as little as possible.
KINDS: dict[str, Config] = {
    "all": {"isolate": "strict", "macspoofchk": True, "promiscMode": True},
    "layer 2": {"ipam": None, "ipMasq": None, "isDefaultGateway": None},
}
VERBS = ("ADD", "DEL", "GC")
# Each test takes every so many-th system call, so that tests run beside each other. Without --long there is
# one of them, which takes few.
SHARES = 8
FEW = 5


@pytest.fixture(scope="module")
def suite(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Suite:
    """The executables, whatever is tested elsewhere."""
    return Suite.of_executables(tmp_path_factory.mktemp("cni-bin"), built)


# A system call of a program's run: its name, and which of that name it is, as strace counts them.
Step = tuple[str, int]


def strace(report: Path, step: Step | None = None) -> list[str]:
    """Return what a program is started with so that its system calls are written down, and end at a step."""
    inject = [f"--inject={step[0]}:signal=KILL:when={step[1]}"] if step else []
    return ["/usr/bin/strace", "--quiet=all", f"--output={report}", *inject]


def read_steps(report: Path) -> list[Step]:
    """Return each system call from the one that reads the configuration: all before it starts the program."""
    # The kernel restarts the write of a switch, thousands of times, while somebody holds the lock of links.
    lines = [line for line in report.read_text().splitlines() if "(" in line and "ERESTART" not in line]
    names = [line.partition("(")[0] for line in lines]
    first = next(i for i, line in enumerate(lines) if line.startswith("read(0,"))
    return [(name, names[: i + 1].count(name)) for i, name in enumerate(names) if i > first]


class Killer:
    """Makes calls of one network that are killed.

    Args:
        machine: where.
        config: the network.
    """

    def __init__(self, machine: Machine, config: Config) -> None:
        self.machine = machine
        self.config = config
        self.report = machine.directory / "strace"

    def call(self, verb: str, step: Step | None = None) -> Answer:
        """Call a verb, and kill it when it enters a step."""
        self.machine.prefix = strace(self.report, step)
        try:
            return self.machine.call(verb, self.config)
        finally:
            self.machine.prefix = []

    def find_steps(self, verb: str) -> list[Step]:
        """Return the steps of a call that succeeds."""
        answer = self.call(verb)
        assert answer.status == 0, answer
        return read_steps(self.report)

    def kill(self, verb: str, step: Step) -> bool:
        """Make a call that is killed; return whether it got to the step: some runs need a little less."""
        answer = self.call(verb, step)
        assert answer.status in (0, -signal.SIGKILL), answer
        return answer.status != 0


def choose(steps: list[Step], share: int, is_long: bool) -> list[Step]:
    """Return the steps that a test takes."""
    return steps[share::SHARES] if is_long else steps[:: len(steps) // FEW]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make a test of each share in the long mode, and one in all else."""
    if "share" in metafunc.fixturenames:
        metafunc.parametrize("share", range(SHARES if metafunc.config.getoption("--long") else 1))


@pytest.fixture
def is_long(request: pytest.FixtureRequest) -> bool:
    """Whether everything is tried."""
    return bool(request.config.getoption("--long"))


def assert_remedied(
    machine: Machine, config: Config, name: str, before: dict[str, object], what: str
) -> None:
    """Do what a runtime does, and see that nothing is left."""
    try:
        remedy(machine, config, name)
        assert_clean(machine, before)
    except AssertionError as error:
        pytest.fail(f"{what}, then {name}: {error}")


@pytest.mark.root
@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("kind", KINDS)
def test_killed_at_any_system_call(machine: Machine, kind: str, verb: str, share: int, is_long: bool) -> None:
    config = machine.config("10.10.0.0/24", "fd00:10::/64", **KINDS[kind])
    killer = Killer(machine, config)
    # The first ADD makes the bridge and the index, which stay.
    machine.add(config)
    machine.delete(config)
    before = machine.snapshot()
    if verb != "ADD":
        machine.add(config)
    steps = choose(killer.find_steps(verb), share, is_long)
    machine.delete(config)
    assert_clean(machine, before)
    killed, remedies = 0, itertools.cycle(REMEDIES)
    for step in steps:
        for name in REMEDIES if is_long else (next(remedies),):
            if verb != "ADD":
                machine.add(config)
            killed += killer.kill(verb, step)
            assert_remedied(machine, config, name, before, f"{verb} killed at {step}")
    assert killed > len(steps) // 2


@pytest.mark.root
def test_killed_with_the_ipam_plugin(machine: Machine, share: int, is_long: bool) -> None:
    """All processes of the call at once, as the kernel ends them when a control group has no memory left."""
    config = machine.config("10.10.0.0/24", "fd00:10::/64")
    report = machine.directory / "ipam"
    machine.add(config)
    machine.delete(config)
    before = machine.snapshot()
    machine.add(config, CNI_PATH=machine.make_plugin(f"exec {shlex.join(strace(report))} $REAL"))
    steps = choose(read_steps(report), share, is_long)
    machine.delete(config)
    killed, remedies = 0, itertools.cycle(REMEDIES)
    for step in steps:
        script = f"{shlex.join(strace(report, step))} $REAL || kill -9 $PPID"
        answer = machine.call("ADD", config, CNI_PATH=machine.make_plugin(script))
        killed += answer.status == -signal.SIGKILL
        assert_remedied(machine, config, next(remedies), before, f"IPAM and bridge killed at {step}")
    assert killed > len(steps) // 2


def remedy_chain(chain: Chain, name: str) -> None:
    """Do what a runtime does after a plugin of a chain was killed."""
    if name == "GC":
        chain.collect_garbage()
    elif name == "DEL without namespace":
        chain.delete(is_cached=False, CNI_NETNS="")
    else:
        chain.delete()
    if name == "ADD":
        chain.add()
        chain.check()
        chain.delete()


@pytest.mark.root
@pytest.mark.parametrize("verb", ["ADD", pytest.param("DEL", marks=pytest.mark.long)])
@pytest.mark.parametrize(("role", "backend"), [*((role, "") for role in ROLES[1:]), ("portmap", "nftables")])
def test_chained_plugin_killed_at_any_system_call(
    machine: Machine, role: str, backend: str, verb: str, share: int, is_long: bool
) -> None:
    chain = Chain(machine, version="1.1.0", roles=("bridge", role), backend=backend)
    report = machine.directory / "strace"

    def call(step: Step | None = None) -> Answer:
        if verb == "DEL":
            chain.add()
        chain.prefixes = {role: strace(report, step)}
        answer = chain.try_add() if verb == "ADD" else chain.try_delete()
        chain.prefixes = {}
        return answer

    chain.add()
    chain.delete()
    before = chain.snapshot()
    assert call().status == 0
    steps = choose(read_steps(report), share, is_long)
    chain.delete()
    killed, remedies = 0, itertools.cycle(REMEDIES)
    for step in steps:
        answer, name = call(step), next(remedies)
        assert answer.status in (0, -signal.SIGKILL), answer
        killed += answer.status != 0
        try:
            remedy_chain(chain, name)
            assert_same(before, chain.snapshot())
        except AssertionError as error:
            pytest.fail(f"{role}'s {verb} killed at {step}, then {name}: {error}")
    assert killed > len(steps) // 2
