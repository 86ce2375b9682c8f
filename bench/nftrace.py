"""Which rules of nf_tables the kernel looks at for a packet, by its own trace of that packet.

The trace reports rules that match and the ends of chains. A chain's rules are looked at in their order:
those between one that the trace reports and the next have been evaluated, too.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from json import loads
from select import POLLIN, poll
from socket import AF_NETLINK, SOCK_CLOEXEC, SOCK_RAW, socket
from struct import Struct
from typing import Any

from bench.process import Failed, run
from shibafu.netfilter.generation import NETLINK_NETFILTER, NFNL_SUBSYS_NFTABLES
from shibafu.netlink.codec import parse_attrs, parse_messages, parse_string

_NFT = "/usr/sbin/nft"
# include/uapi/linux/netfilter/nfnetlink.h, nf_tables.h
_NFNLGRP_NFTRACE = 9
_NFT_MSG_TRACE = 17
_NFGENMSG_SIZE = 4
_TABLE, _CHAIN, _RULE_HANDLE, _TYPE, _VERDICT = 1, 2, 3, 4, 5
_VERDICT_CODE, _VERDICT_CHAIN = 1, 2
_POLICY = 1
_CONTINUE, _JUMP, _GOTO, _RETURN = -1, -3, -4, -5
_FAMILIES = {1: "inet", 2: "ip", 7: "bridge", 10: "ip6"}
_NUMBER, _CODE, _HANDLE = Struct(">I"), Struct(">i"), Struct(">Q")
_BUFFER_SIZE = 1 << 16
# Milliseconds after which a packet that has arrived has been told of.
_PATIENCE = 200

# Bytes that a packet has to carry to be traced: an acknowledgement has none.
PAYLOAD = 200
_OWN_TABLE = "shibafu-bench"
# Before all others' chains.
_MARKING = """table {family} {table} {{
    chain tracing {{
        type filter hook prerouting priority -500;
        {condition} {header} saddr {source} {header} length >= {payload} meta nftrace set 1
    }}
}}
"""
# nft's words for the header of IPv4 and of IPv6, and for the families of tables.
_HEADERS = {4: "ip", 6: "ip6"}

# Family, table, chain.
ChainKey = tuple[str, str, str]
Chains = dict[ChainKey, list[dict[str, Any]]]


@dataclass(frozen=True)
class Event:
    """What the kernel reports of a packet in a chain.

    Args:
        chain: the chain.
        is_policy: whether a base chain has ended, and its policy decides.
        handle: of the rule; 0 where a chain has ended.
        code: the verdict.
        target: the chain that it leads to, if any.
    """

    chain: ChainKey
    is_policy: bool
    handle: int
    code: int
    target: ChainKey


def trace_packet(source: str, send: Callable[[], None]) -> list[dict[str, Any]]:
    """Return the rules that one packet meets in the namespace that this process is in.

    Args:
        source: the address that it has when it gets here.
        send: sends it, with a payload of at least `PAYLOAD` bytes, and returns when it has arrived.

    Returns:
        The rules as nft(8) has them in JSON.

    Raises:
        Failed: the kernel has told of no packet.
    """
    with socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER) as listener:
        listener.bind((0, 1 << (_NFNLGRP_NFTRACE - 1)))
        header = _HEADERS[6 if ":" in source else 4]
        conditions = {header: "", "bridge": f"ether type {header}"}
        own = "".join(
            _MARKING.format(
                family=family,
                table=_OWN_TABLE,
                condition=condition,
                header=header,
                source=source,
                payload=PAYLOAD,
            )
            for family, condition in conditions.items()
        )
        run([_NFT, "-f", "-"], stdin=own.encode())
        try:
            chains = _list_chains()
            send()
            events = list(_read_events(listener))
        finally:
            for family in conditions:
                run([_NFT, "delete", "table", family, _OWN_TABLE])
    if not events:
        raise Failed(f"no packet from {source} has been traced")
    return [rule for rule in calc_met(chains, events) if rule["table"] != _OWN_TABLE]


def calc_met(chains: Chains, events: Iterable[Event]) -> list[dict[str, Any]]:
    """Return the rules that a packet has met, one after the other."""
    met = []
    # Where the packet is, and where it goes on when a chain has ended: chains, and the rules behind it.
    path: list[list[Any]] = []
    for event in events:
        rules = chains[event.chain]
        if not path:
            path = [[event.chain, 0]]
        if path[-1][0] != event.chain:
            raise Failed(f"a packet is in chain {event.chain}, and not in {path[-1][0]}")
        before = path[-1][1]
        after = len(rules)
        if event.handle:
            after = next(n for n, rule in enumerate(rules, 1) if rule["handle"] == event.handle)
        met += rules[before:after]
        path[-1][1] = after
        if event.is_policy:
            path = []
        elif not event.handle or event.code == _RETURN:
            # Of a base chain, the policy follows.
            path = path[:-1] or [[event.chain, len(rules)]]
        elif event.code == _GOTO:
            path[-1] = [event.target, 0]
        elif event.code == _JUMP:
            path.append([event.target, 0])
        elif event.code != _CONTINUE:
            path = []
    return met


def _list_chains() -> Chains:
    """Return all rules of the namespace that this process is in, in their order."""
    chains: Chains = {}
    for item in loads(run([_NFT, "-j", "list", "ruleset"]).output)["nftables"]:
        if chain := item.get("chain"):
            chains[chain["family"], chain["table"], chain["name"]] = []
        elif rule := item.get("rule"):
            chains[rule["family"], rule["table"], rule["chain"]].append(rule)
    return chains


def _read_events(listener: socket) -> Iterable[Event]:
    poller = poll()
    poller.register(listener, POLLIN)
    while poller.poll(_PATIENCE):
        for kind, _, _, _, payload in parse_messages(listener.recv(_BUFFER_SIZE)):
            if kind == NFNL_SUBSYS_NFTABLES << 8 | _NFT_MSG_TRACE:
                yield _parse_event(payload)


def _parse_event(payload: bytes) -> Event:
    family = _FAMILIES[payload[0]]
    attrs = parse_attrs(payload, _NFGENMSG_SIZE)
    table = parse_string(attrs[_TABLE])
    verdict = parse_attrs(attrs.get(_VERDICT, b""))
    return Event(
        chain=(family, table, parse_string(attrs[_CHAIN])),
        is_policy=_NUMBER.unpack(attrs[_TYPE])[0] == _POLICY,
        handle=_HANDLE.unpack(attrs[_RULE_HANDLE])[0] if _RULE_HANDLE in attrs else 0,
        code=_CODE.unpack(verdict[_VERDICT_CODE])[0] if _VERDICT_CODE in verdict else _CONTINUE,
        target=(family, table, parse_string(verdict.get(_VERDICT_CHAIN, b""))),
    )
