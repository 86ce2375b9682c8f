"""What the measurements have in common: the two suites, a host for each, turns."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from time import sleep
from typing import TypeVar

from bench.namespace import Namespace
from bench.process import Sample, Started, measure_peak
from bench.suite import Network, Suite
from shibafu.netlink.link import link_set
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

    def calc_call(self, command: str, container: Namespace) -> tuple[dict[str, str], bytes]:
        """Return environment and input of a call; a container is identified by its namespace."""
        env = self.suite.calc_environment(command, container.name, container.path)
        return env, self._network.calc_config(self._results.get(container.name, b""))

    def start(self, command: str, container: Namespace) -> Started:
        """Start ADD, CHECK or DEL of a container."""
        env, config = self.calc_call(command, container)
        with self.namespace.inside():
            return Started([self.suite.programs["bridge"]], env, config)

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
        ours: our plugins.
        reference: those that they are compared with.
        work: a directory that is deleted in the end.
        pairs: how often everything is measured.
        is_quick: whether to leave out what takes long.
    """

    ours: Suite
    reference: Suite
    work: Path
    pairs: int
    is_quick: bool

    @property
    def costly_pairs(self) -> int:
        """How often that is measured which takes seconds each time."""
        return min(self.pairs, 3) if self.is_quick else self.pairs

    @property
    def suites(self) -> tuple[Suite, Suite]:
        """Both suites, in the order of the table's columns."""
        return self.ours, self.reference

    @contextmanager
    def host(self, suite: Suite, nat: bool = False, dual_stack: bool = False) -> Iterator[Host]:
        """Make a host with an own, empty store of leases."""
        data_dir = self.work / f"networks-{next(_numbers)}"
        host = Host(suite, Network(data_dir, nat, dual_stack))
        with host.namespace:
            yield host

    @contextmanager
    def hosts(self, nat: bool = False, dual_stack: bool = False) -> Iterator[tuple[Host, Host]]:
        """Make a host for each suite, with the same network."""
        with ExitStack() as stack:
            ours, theirs = (stack.enter_context(self.host(suite, nat, dual_stack)) for suite in self.suites)
            yield ours, theirs


_numbers = count(1)


def settle() -> None:
    """Wait until the kernel is done with what was asked for before, by whomever.

    shibafu's DEL does not wait for the kernel's last word on a deleted link; without a pause whoever comes
    next would have to, as all changes of links in all namespaces go through one lock.
    """
    with NetlinkSocket() as sock:
        sock.request(link_set("lo", up=True))
    sleep(_REST)


def take_turns(sides: Sequence[T], turns: int) -> Iterator[T]:
    """Return all sides in each turn; who comes first alternates."""
    for turn in range(turns):
        yield from sides if turn % 2 == 0 else reversed(sides)
