"""Many containers on one bridge."""

from collections import defaultdict
from contextlib import ExitStack

from bench.bed import Bed, Host, take_turns
from bench.namespace import Namespace, namespaces
from bench.report import Row, Table
from bench.suite import count_rules
from bench.targets import find_targets

_CROWD = 200
_QUICK_CROWD = 40


def measure_crowd(bed: Bed) -> list[Table]:
    """Measure ADD and DEL, with NAT, as the first container of a bridge, the second, and the last of many."""
    crowd = _QUICK_CROWD if bed.is_quick else _CROWD
    places = {1: "1st", 2: "2nd", crowd: f"{crowd}th"}
    walls: dict[tuple[str, int], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    rules: dict[str, list[float]] = {}
    watch = bed.watch()
    with ExitStack() as stack:
        sides: list[tuple[Host, int]] = []
        for place in places:
            for suite in bed.suites:
                host = stack.enter_context(bed.host(suite, nat=True))
                for resident in stack.enter_context(namespaces("resident", place - 1)):
                    host.call("ADD", resident)
                sides.append((host, place))
        container = stack.enter_context(Namespace("container"))
        for host, place in take_turns(sides, bed.costly_pairs + 1):
            walls["ADD", place][host.name].append(host.call("ADD", container).wall)
            if place == crowd:
                with host.namespace.inside():
                    rules[host.name] = [count_rules()]
            walls["DEL", place][host.name].append(host.call("DEL", container).wall)

    compared = Table("Many on one bridge, with NAT", bed.sides)
    for place, ordinal in places.items():
        for verb in ("ADD", "DEL"):
            # The first turn warms caches up.
            samples = {side: values[1:] for side, values in walls[verb, place].items()}
            served = watch.calc_share(verb, "bridge")
            compared.rows.append(Row(f"{verb} as the {ordinal} container", samples, served=served))
    compared.rows.append(Row(f"iptables rules with {crowd} containers", rules, "rules"))

    tables = [compared]
    for suite in bed.ours:
        columns = {ordinal: f"the {ordinal}" for ordinal in reversed(places.values())}
        grown = Table(f"Growth of the bridge: {suite.name}", list(columns.values()))
        for verb in ("ADD", "DEL"):
            samples = {columns[places[place]]: walls[verb, place][suite.name][1:] for place in places}
            grown.rows.append(Row(verb, samples, targets=find_targets(f"bridge grown: {verb}")))
        tables.append(grown)
    return tables
