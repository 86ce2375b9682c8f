"""What the measurements have in common: the suites, a host for each, turns."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from time import sleep
from typing import TypeVar

from bench.cpu import CpuAccount
from bench.namespace import Namespace
from bench.process import Sample, Started, measure_peak
from bench.suite import Network, Suite, Watch
from shibafu.netlink.link_requests import link_set
from shibafu.netlink.socket import NetlinkSocket

T = TypeVar("T")

# Seconds, after that lock was free.
_REST = 0.02


class Host:
    """A machine's network namespace, with the one network of one suite.

    Args:
        suite: the plugins that make the network.
        network: its configuration.
    """

    def __init__(self, suite: Suite, network: Network) -> None:
        self.suite = suite
        self.namespace = Namespace("host")
        self.data_dir = network.data_dir
        self._network = network
        self._results: dict[str, bytes] = {}

    @property
    def name(self) -> str:
        """How the table calls the suite."""
        return self.suite.name

    def calc_call(self, command: str, container: Namespace) -> tuple[dict[str, str], bytes]:
        """Return environment and input of a call; a container is identified by its namespace."""
        env = self.suite.calc_environment(command, container.name, container.path)
        return env, self._network.calc_config(self._results.get(container.name, b""))

    def start(self, command: str, container: Namespace) -> Started:
        """Start ADD, CHECK or DEL of a container."""
        env, config = self.calc_call(command, container)
        with self.namespace.inside():
            return self.suite.start("bridge", env, config)

    def call(self, command: str, container: Namespace) -> Sample:
        """Do ADD, CHECK or DEL of a container, when the machine has come to rest.

        Raises:
            Failed: it answered with an error.
        """
        settle()
        sample = self.start(command, container).wait()
        self.remember(command, container, sample.output)
        return sample

    def remember(self, command: str, container: Namespace, output: bytes) -> None:
        """Keep what ADD answered, for CHECK and DEL."""
        if command == "ADD":
            self._results[container.name] = output
        elif command == "DEL":
            self._results.pop(container.name, None)

    def measure_peak(self, command: str, container: Namespace) -> float:
        """Do a call as `call` does, and return its peak memory in MiB."""
        env, config = self.calc_call(command, container)
        with self.namespace.inside():
            peak, output = measure_peak([self.suite.programs["bridge"]], env, config)
        self.remember(command, container, output)
        return peak


@dataclass(frozen=True)
class Bed:
    """What a case works with.

    Args:
        suites: what is compared, in the order of the table's columns: ours first, and last what the others'
            ratios are of.
        work: a directory that is deleted in the end.
        cpu: counts the time of what is started.
        pairs: how often everything is measured.
        is_quick: whether to leave out what takes long.
    """

    suites: tuple[Suite, ...]
    work: Path
    cpu: CpuAccount
    pairs: int
    is_quick: bool

    @property
    def costly_pairs(self) -> int:
        """How often that is measured which takes seconds each time."""
        return min(self.pairs, 3) if self.is_quick else self.pairs

    @property
    def ours(self) -> tuple[Suite, ...]:
        """The suites that are ours: all but the last."""
        return self.suites[:-1]

    @property
    def sides(self) -> tuple[str, ...]:
        """The suites' names."""
        return tuple(suite.name for suite in self.suites)

    def watch(self) -> Watch:
        """Watch what the suites' engines serve."""
        return Watch(self.suites)

    @contextmanager
    def host(self, suite: Suite, **options: bool) -> Iterator[Host]:
        """Make a host with an own, empty store of leases; the options are those of its `Network`."""
        data_dir = self.work / f"networks-{next(_numbers)}"
        host = Host(suite, Network(data_dir, **options))
        with host.namespace:
            yield host

    @contextmanager
    def hosts(self, **options: bool) -> Iterator[list[Host]]:
        """Make a host for each suite, with the same network."""
        with ExitStack() as stack:
            yield [stack.enter_context(self.host(suite, **options)) for suite in self.suites]


_numbers = count(1)


def settle() -> None:
    """Wait until the kernel is done with what was asked for before, by whomever.

    shibafu's DEL does not wait for the kernel's last word on a deleted link; without a pause the next
    call would have to, as all changes of links in all namespaces go through one lock.
    """
    with NetlinkSocket() as sock:
        sock.request(link_set("lo", up=True))
    sleep(_REST)


def take_turns(sides: Sequence[T], turns: int, slow: Collection[T] = (), slow_turns: int = 0) -> Iterator[T]:
    """Return all sides in each turn; who comes first alternates.

    Args:
        sides: what is measured.
        turns: how often.
        slow: those of them that are only measured in the first turns: they differ too much to need more.
        slow_turns: how often these are.
    """
    for turn in range(turns):
        present = sides if turn < slow_turns else [side for side in sides if side not in slow]
        yield from present if turn % 2 == 0 else reversed(present)
