"""How near to its limit a container receives and sends UDP, where the limit is 1 Gbit/s.

Slower limits are a test (tests/netns/test_bandwidth.py). At this one a busy machine cannot send fast enough.
"""

from collections import defaultdict
from json import loads

from bench.bed import Bed, take_turns
from bench.chain import Chain
from bench.namespace import namespaces
from bench.report import Row
from bench.traffic import measure_flow

_TURNS, _QUICK_TURNS = 5, 1
_GBIT = 1_000_000_000
# In bits, what flows in 50 ms: shibafu-bandwidth chooses that if none is given, but the reference wants one.
_BURST = _GBIT // 20
_FAST = ("--udp", "--bitrate", "1500M", "--length", "1400")


def measure_limits(bed: Bed) -> list[Row]:
    """Measure UDP to a container and from it, in Gbit/s, with more sent than the limit lets through."""
    limits = {
        f"{way}{key}": value
        for way in ("ingress", "egress")
        for key, value in (("Rate", _GBIT), ("Burst", _BURST))
    }
    samples: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    with bed.hosts(nat=True) as hosts, namespaces("container", len(hosts)) as containers:
        limited = {}
        for host in hosts:
            container = containers.pop()
            Chain(host, {"bandwidth": limits}).call("ADD", container)
            _, config = host.calc_call("DEL", container)
            (entry,) = loads(config)["prevResult"]["ips"]
            limited[host] = (container, entry["address"].partition("/")[0], entry["gateway"])
        for host in take_turns(hosts, _QUICK_TURNS if bed.is_quick else _TURNS):
            container, address, gateway = limited[host]
            flows = {
                "to": (host.namespace, container, address),
                "from": (container, host.namespace, gateway),
            }
            for way, ends in flows.items():
                row = f"iperf3 by UDP, {way} a container limited to 1 Gbit/s"
                samples[row][host.name].append(measure_flow(*ends, _FAST))
    return [Row(name, sides, "Gbit/s") for name, sides in samples.items()]
