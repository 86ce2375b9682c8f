"""The benchmark's count of the rules that a packet meets: of rules of which it is known, and of networks."""

import os
import socket
import subprocess
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from bench.bed import Host
from bench.nftrace import PAYLOAD, trace_packet
from bench.process import Failed
from bench.rules import is_isolating, trace_paths
from bench.suite import Network, make_reference
from bench.suite import Suite as Plugins
from support.namespaces import Namespace
from support.suite import Suite

_PORT = 5300
_RULES = f"""
table inet first {{
    chain input {{
        type filter hook input priority 0; policy accept;
        tcp dport {_PORT} drop comment "met: does not match"
        jump inner comment "met: jumps"
        ip saddr 203.0.113.1 drop comment "met: after the return"
        goto last comment "met: goes"
        counter comment "passed over"
    }}
    chain inner {{
        udp dport {_PORT} return comment "met: returns"
        counter comment "passed over"
    }}
    chain last {{
        counter comment "met: goes on"
        accept comment "met: accepts"
        counter comment "passed over"
    }}
}}
table ip second {{
    chain input {{
        type filter hook input priority 10; policy accept;
        jump empty comment "met: jumps to nothing"
        ip saddr 203.0.113.1 drop comment "met: the last one"
    }}
    chain empty {{
    }}
}}
"""
_MET = [
    "met: does not match",
    "met: jumps",
    "met: returns",
    "met: after the return",
    "met: goes",
    "met: goes on",
    "met: accepts",
    "met: jumps to nothing",
    "met: the last one",
]


def test_rules_are_met_in_the_kernels_order(host: Namespace) -> None:
    with host.enter(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        subprocess.run(["nft", "-f", "-"], input=_RULES, text=True, check=True)
        receiver.bind(("127.0.0.1", _PORT))
        receiver.settimeout(30)
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

        def send() -> None:
            with sender:
                sender.sendto(bytes(PAYLOAD), ("127.0.0.1", _PORT))
            receiver.recv(PAYLOAD)

        met = trace_packet("127.0.0.1", send)
        tables = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=True)
    assert [rule["comment"] for rule in met] == _MET
    assert tables.stdout.splitlines() == ["table inet first", "table ip second"]


def test_a_packet_that_does_not_come_is_not_one_without_rules(host: Namespace) -> None:
    with host.enter(), pytest.raises(Failed, match="no packet"):
        trace_packet("127.0.0.1", lambda: None)


# What packets of established connections meet, by whether br_netfilter hands over what stays on the bridge.


@cache
def count_of_reference(is_on: bool, version: int) -> dict[str, int]:
    """Count them beside the reference's rules."""
    with TemporaryDirectory() as directory:
        host = Host(make_reference(), Network(Path(directory), nat=True, dual_stack=version == 6))
        with host.namespace:
            return {path: len(rules) for path, rules in trace_paths(host, is_on, version)}


@pytest.mark.skipif(not os.path.exists("/usr/lib/cni/firewall"), reason="the reference is not installed")
@pytest.mark.skipif(not os.path.exists("/proc/sys/net/bridge"), reason="br_netfilter is not loaded")
@pytest.mark.parametrize("is_on", [False, True], ids=["br_netfilter off", "br_netfilter on"])
@pytest.mark.parametrize("backend", ["iptables", "nftables"])
@pytest.mark.parametrize("version", [4, pytest.param(6, marks=pytest.mark.long)])
def test_packets_meet_no_more_rules_than_with_the_reference(
    suite: Suite, tmp_path: Path, version: int, backend: str, is_on: bool
) -> None:
    plugins = Plugins("ours", {"bridge": str(suite.bridge)}, str(suite.directory))
    network = Network(tmp_path, nat=True, dual_stack=version == 6, nftables=backend == "nftables")
    host = Host(plugins, network)
    with host.namespace:
        met = dict(trace_paths(host, is_on, version))
    counts, reference = {path: len(rules) for path, rules in met.items()}, count_of_reference(is_on, version)
    assert counts.keys() == reference.keys() == {"bridged", "bridged, back", "routed", "routed, back"}
    assert {path: n for path, n in counts.items() if n > reference[path]} == {}, (counts, reference)
    # Nothing asked for isolation.
    assert not any(is_isolating(rule) for rules in met.values() for rule in rules)
    # They are seen at all, where rules are.
    assert counts["routed"] > 0
    assert (counts["bridged"] > 0) == is_on
