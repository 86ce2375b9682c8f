"""What the resident engine itself costs, and what it saves when it has long been idle."""

import os
from collections import defaultdict
from pathlib import Path
from time import sleep

from bench.bed import Bed, take_turns
from bench.namespace import namespaces
from bench.report import Row, Table
from bench.targets import find_targets

_TURNS = 5
_MIB = 1 << 20
# Seconds after which spares have populated their memory.
_POPULATED = 0.3
# Larger than any processor's caches.
_CACHES = 256 * _MIB


def measure_memory(bed: Bed) -> list[Table]:
    """Measure the engine's memory with all spares ready; what is shared counts once."""
    engine = bed.suites[0].engine
    if engine is None:
        return []
    memory = []
    for _ in range(_TURNS):
        engine.stop()
        engine.start()
        sleep(_POPULATED)
        memory.append(engine.read_status()["memory"] / _MIB)
    return [Table("Memory of the engine", ("memory",), [Row("at rest", {"memory": memory}, "MiB")])]


def measure_idleness(bed: Bed) -> list[Row]:
    """Measure ADD as the first call after a long time in which nothing was called.

    The time itself is not waited for. What it does to a machine is done at once: files that no process has
    mapped go from the page cache, names of files from the kernel's; the processor's caches are overwritten.
    Memory of processes that run is left to them, the engine's too, as in an hour on a machine without swap.
    """
    name = "NAT, beside another: ADD after idleness"
    walls: dict[str, list[float]] = defaultdict(list)
    watch = bed.watch()
    with bed.hosts(nat=True) as hosts, namespaces("container", len(hosts) + 1) as containers:
        for host in hosts:
            host.call("ADD", containers.pop())
        (container,) = containers
        for host in take_turns(hosts, min(bed.costly_pairs, 2 * _TURNS)):
            _forget()
            walls[host.name].append(host.call("ADD", container).wall)
            host.call("DEL", container)
    served = watch.calc_share("ADD", "bridge")
    return [Row(name, walls, targets=find_targets(name), served=served)]


def _forget() -> None:
    os.sync()  # what is not written yet is not dropped
    Path("/proc/sys/vm/drop_caches").write_text("3")
    b"\1" * _CACHES
