"""What is left to win: the start of a process, the kernel's part, and iptables' part, each for itself."""

from collections import defaultdict
from collections.abc import Callable
from functools import partial

from bench.bed import Bed
from bench.frozen import make_empty_program
from bench.kernel import KernelWork
from bench.namespace import Namespace
from bench.process import run
from bench.report import Row
from bench.suite import SUBNET
from shibafu.lean.ip import parse_cidr
from shibafu.netfilter.network_rulesets import ADMIN, NetworkRules, calc_iptables
from shibafu.netfilter.render_iptables import render_setup, render_shared_teardown, render_teardown


def measure_floors(bed: Bed) -> list[Row]:
    """Measure each floor, in turns."""
    empty = make_empty_program(bed.suites[0].home, bed.work / "empty")
    ruleset = calc_iptables(NetworkRules("bench", ["bench0"], [parse_cidr(SUBNET)]), 4)
    setup = render_setup(ruleset, has_shared=False)
    teardown = render_teardown(ruleset) + render_shared_teardown(ADMIN)
    samples: dict[str, list[float]] = defaultdict(list)
    with (
        Namespace("host") as host,
        Namespace("container") as container,
        KernelWork(host, container) as kernel,
        host.inside(),
    ):
        floors: list[tuple[str, Callable[[], float]]] = [
            ("process: /bin/true", partial(_run, ["/bin/true"])),
            ("process: bare interpreter", partial(_run, ["/usr/bin/python3", "-I", "-S", "-c", "pass"])),
            ("process: empty frozen program", partial(_run, [empty])),
            ("iptables-restore: one network's rules", partial(_restore, setup)),
            ("iptables-restore: and away with them", partial(_restore, teardown)),
            ("kernel: link, address, route", kernel.add),
            ("kernel: link deleted, until announced", kernel.delete_announced),
            ("kernel: link, address, route", kernel.add),
            ("kernel: link deleted, until acknowledged", kernel.delete),
        ]
        for _ in range(bed.pairs + 1):
            for name, measure in floors:
                samples[name].append(measure())
    return [Row(name, {"time": values[1:]}) for name, values in samples.items()]


def _run(argv: list[str]) -> float:
    return run(argv, {}).wall


def _restore(rules: str) -> float:
    return run(["/usr/sbin/iptables-restore", "--noflush"], {}, rules.encode()).wall
