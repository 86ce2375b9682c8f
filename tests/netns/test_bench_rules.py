"""The benchmark's count of the rules that a packet meets, beside rules of which that is known."""

import socket
import subprocess

import pytest

from bench.nftrace import PAYLOAD, trace_packet
from bench.process import Failed
from netns.namespaces import Namespace

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
        receiver.settimeout(5)
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
