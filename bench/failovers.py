"""How long containers are cut off when what is there twice fails, and when it is back.

Called by `bench/run.sh --failovers`, in the laboratories of the tests. There is nothing to compare it with:
these are absolute figures, of the machine that they were taken on. A packet is sent every 4 ms.
"""

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from time import monotonic, sleep

from netns.gateway_lab import WORLD, open_gateway_lab
from netns.router_lab import GATEWAYS, RouterLab
from netns.uplink_lab import UplinkLab
from support.machine import Machine
from support.namespaces import Namespace
from support.stream import Stream
from support.suite import Suite
from support.waiting import wait_for

# Seconds in which a router is asked some times before it fails, and in which something that costs nothing
# would have cost something.
_SOME_TIME = 0.5
# Longer than this, in milliseconds, nothing of this kind may take.
_BOUNDS = {
    "uplink: carrier": 150,
    "uplink: silence": 600,
    "router: carrier": 200,
    "gateway: keepalived killed": 1000,
    "gateway: host cut off": 1000,
}


class Failovers:
    """Makes laboratories, and measures in them.

    Args:
        suite: the plugins, and the command.
        work: a directory of its own.
    """

    def __init__(self, suite: Suite, work: Path) -> None:
        self._suite = suite
        self._work = work
        self._count = 0
        # Milliseconds, by what has happened.
        self.gaps: dict[str, list[float]] = {}

    def measure(self) -> None:
        """Measure each failure once, and each return."""
        for version in (4, 6):
            for damage in ("carrier", "silence"):
                self._measure_router(version, damage)
            for damage in ("keepalived killed", "keepalived stopped", "host cut off"):
                self._measure_gateway(version, damage)
        for damage in ("carrier", "silence"):
            self._measure_uplink(damage)

    def _measure_uplink(self, damage: str) -> None:
        with self._open_machine() as machine, UplinkLab(machine) as lab:
            machine.add(lab.config)
            with lab.watch() as watched:
                lab.wait_until_probed(watched)
                if damage == "carrier":
                    self._note("nothing", lab.stream(), lambda: None, lambda: None)
                    fail, mend = lab.cut, lab.mend
                else:
                    fail, mend = lab.cut_silently, lab.mend_silently
                self._note(
                    f"uplink: {damage}",
                    lab.stream(),
                    partial(fail, "eth1"),
                    partial(watched.wait_for, "uplink eth2 is active now"),
                )
                self._note(
                    f"uplink: return after {damage}", lab.stream(), partial(mend, "eth1"), lambda: None
                )

    def _measure_router(self, version: int, damage: str) -> None:
        with self._open_machine() as machine, RouterLab(machine) as lab:
            machine.add(lab.config)
            lab.configure()
            with lab.watch() as watched:
                sleep(_SOME_TIME)
                fail, mend = (lab.cut, lab.mend) if damage == "carrier" else (lab.silence, lab.revive)
                self._note(
                    f"router: {damage}",
                    lab.stream(version),
                    partial(fail, 0),
                    partial(watched.wait_for, f"{GATEWAYS[version][1]} dev eth1 is active now"),
                )
                self._note(
                    f"router: return after {damage}",
                    lab.stream(version),
                    partial(mend, 0),
                    partial(watched.wait_for, f"{GATEWAYS[version][0]} dev eth0 is active now"),
                )

    def _measure_gateway(self, version: int, damage: str) -> None:
        with open_gateway_lab(self._suite, self._make_directory()) as lab:
            lab.start()
            first, second = lab.hosts
            container = second.machine.container("c2")
            fail: dict[str, Callable[[], None]] = {
                "keepalived killed": first.kill_keepalived,
                "keepalived stopped": first.stop_keepalived,
                "host cut off": partial(lab.cut_off, first),
            }
            self._note(
                f"gateway: {damage}",
                Stream(lab.world, WORLD[version], container),
                fail[damage],
                partial(wait_for, second.has_gateway),
            )
            if damage != "host cut off":
                self._note(
                    f"gateway: return after {damage}",
                    Stream(lab.world, WORLD[version], container),
                    first.start_keepalived,
                    partial(wait_for, first.is_without_gateway),
                )

    def _note(
        self, what: str, stream: Stream, change: Callable[[], object], wait: Callable[[], object]
    ) -> None:
        """Note the longest gap in a stream after something has changed.

        Args:
            what: what has.
            stream: of packets.
            change: changes it.
            wait: returns when the change has had its effect.
        """
        with stream:
            begin = monotonic()
            change()
            wait()
            sleep(_SOME_TIME)
            stream.wait_for_arrivals()
            self.gaps.setdefault(what, []).append(stream.measure_gap(begin) * 1000)

    @contextmanager
    def _open_machine(self) -> Iterator[Machine]:
        with Namespace("host") as host:
            machine = Machine(self._suite, host, self._make_directory())
            try:
                yield machine
            finally:
                machine.close()

    def _make_directory(self) -> Path:
        self._count += 1
        directory = self._work / str(self._count)
        directory.mkdir()
        return directory


def _print_table(gaps: dict[str, list[float]]) -> None:
    print("\n| What has happened | Median, ms | Longest, ms | Bound, ms |\n|---|---|---|---|")
    for what, found in sorted(gaps.items()):
        print(f"| {what} | {median(found):.0f} | {max(found):.0f} | {_BOUNDS.get(what, '')} |")


def main() -> None:
    """Measure as the command line says."""
    parser = argparse.ArgumentParser(prog="run.sh --failovers", description=__doc__)
    parser.add_argument("--root", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument(
        "--rounds",
        type=int,
        default=10,
        help="how often each happens (10); to routers and gateways, of IPv4 and of IPv6",
    )
    arguments = parser.parse_args()
    programs = arguments.work / "programs"
    programs.mkdir()
    failovers = Failovers(Suite.of_executables(programs, arguments.root / "dist" / "shibafu"), arguments.work)
    for _ in range(arguments.rounds):
        failovers.measure()
    _print_table(failovers.gaps)


if __name__ == "__main__":
    main()
