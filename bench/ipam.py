"""IPAM alone, with few leases and with many."""

import os
from collections import defaultdict
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from bench.bed import Bed, settle, take_turns
from bench.namespace import Namespace
from bench.report import Row, Table
from bench.suite import SUBNET, Network, Suite
from bench.targets import find_targets

_SIZES = (0, 1_000, 10_000, 60_000)
_QUICK_SIZES = (0, 1_000, 10_000)
_VERBS = ("ADD", "DEL")
# From this many leases on the reference, which reads them all, is measured less often.
_MANY, _SLOW_TURNS = 60_000, 6


@dataclass(frozen=True)
class Store:
    """A directory of leases that one suite works on.

    Args:
        name: how the table calls it.
        suite: the suite.
        network: the network that the leases are of.
        is_large: whether there are so many that reading them all takes half a second.
    """

    name: str
    suite: Suite
    network: Network
    is_large: bool

    def fill(self, addresses: list[IPv4Address], last: IPv4Address) -> None:
        """Write leases as host-local does.

        Args:
            addresses: what is taken.
            last: what was given out last.
        """
        directory = self.network.data_dir / "bench"
        directory.mkdir(parents=True)
        for number, address in enumerate(addresses):
            _write(directory / str(address), f"container-{number}\r\neth0")
        _write(directory / "last_reserved_ip.0", str(last))

    def measure(self, verb: str, netns: Namespace) -> float:
        """Do a call, when the machine has come to rest, and return how many milliseconds it took."""
        settle()
        return self.suite.call("host-local", verb, self.network.calc_config(), "measured", netns.path).wall


def measure_ipam(bed: Bed) -> list[Table]:
    """Measure ADD and DEL with all sizes in turns, so that they can be compared with each other."""
    sizes = _QUICK_SIZES if bed.is_quick else _SIZES
    names = [f"IPAM with {size:,} leases" for size in sizes] + ["IPAM with one address free"]
    hosts = list(IPv4Network(SUBNET).hosts())[1:]  # the first is the gateway's
    middle = len(hosts) // 2
    stores = []
    for number, (name, size) in enumerate(zip(names, [*sizes, len(hosts)], strict=True)):
        is_full = size == len(hosts)
        if is_full and bed.is_quick:
            continue
        taken = hosts[:middle] + hosts[middle + 1 :] if is_full else hosts[:size]
        for suite in bed.suites:
            network = Network(bed.work / f"leases-{number}-{suite.name}")
            store = Store(name, suite, network, is_large=size >= _MANY)
            store.fill(taken, taken[-1] if taken else hosts[-1])
            stores.append(store)

    walls: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    watch = bed.watch()
    with Namespace("container") as netns:
        slow = [store for store in stores if store.suite.is_slow and store.is_large]
        for store in take_turns(stores, bed.costly_pairs + 1, slow, _SLOW_TURNS):
            for verb in _VERBS:
                walls[f"{store.name}: {verb}"][store.suite.name].append(store.measure(verb, netns))

    # The first turn takes the store over, which costs as much as the store has leases.
    measured = {row: {side: values[1:] for side, values in sides.items()} for row, sides in walls.items()}
    served = {verb: watch.calc_share(verb, "host-local") for verb in _VERBS}
    compared = Table("IPAM alone", bed.sides)
    for row, samples in measured.items():
        verb = row.rpartition(" ")[2]
        compared.rows.append(Row(row, samples, targets=find_targets(row), served=served[verb]))
    tables = [compared]
    for suite in bed.ours:
        grown = Table(f"Growth of the IPAM: {suite.name}", ("this many", "none"))
        for row, samples in measured.items():
            none = measured[f"{names[0]}: {row.rpartition(' ')[2]}"][suite.name]
            if samples[suite.name] is not none:
                sides = {"this many": samples[suite.name], "none": none}
                grown.rows.append(Row(row, sides, targets=find_targets(row)))
        tables.append(grown)
    return tables


def _write(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    os.write(descriptor, text.encode())
    os.close(descriptor)
