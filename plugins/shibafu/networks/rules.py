"""The firewall's rules of a network, with their counters, as the kernel has them now."""

import subprocess
from dataclasses import dataclass

from shibafu.cni.names import calc_chain
from shibafu.lean.subprocess import find_program

_SAVE = {"ipv4": "iptables-save", "ipv6": "ip6tables-save"}


@dataclass(frozen=True)
class CountedRule:
    """A rule.

    Args:
        family: ipv4, ipv6, inet or bridge.
        table: its table.
        chain: its chain.
        text: the rule itself, in the words of iptables-save(8) or nft(8).
        packets: how many it has matched; None when nobody counts.
        bytes: likewise.
    """

    family: str
    table: str
    chain: str
    text: str
    packets: int | None
    bytes: int | None


def list_rules(network: str, search_path: str = "") -> list[CountedRule]:
    """Return the rules of a network: shibafu's and, by their comments, those of the reference plugins."""
    rules = []
    for family, name in _SAVE.items():
        program = find_program(name, search_path)
        if program is not None:
            rules += parse_saved(_run([program, "-c"]), family, network)
    return rules + _list_nft_rules(network, search_path)


def parse_saved(text: str, family: str, network: str) -> list[CountedRule]:
    """Return a network's rules of what iptables-save(8) prints with counters."""
    chain = calc_chain(network)
    marks = (f'"shibafu network {network}"', f'name: \\"{network}\\"')
    rules = []
    table = ""
    for line in text.splitlines():
        if line.startswith("*"):
            table = line[1:]
        counters, _, command = line.partition("] -A ")
        if not command or not counters.startswith("["):
            continue
        where, _, rule = command.partition(" ")
        if where == chain or any(mark in rule for mark in marks):
            packets, size = counters[1:].split(":")
            rules.append(CountedRule(family, table, where, rule, int(packets), int(size)))
    return rules


def _list_nft_rules(network: str, search_path: str) -> list[CountedRule]:
    program = find_program("nft", search_path)
    if program is None:
        return []
    table = calc_chain(network).lower()
    rules = []
    for family in ("inet", "bridge"):
        chain = ""
        for line in _run([program, "list", "table", family, table]).splitlines():
            words = line.strip()
            if words.startswith("chain "):
                chain = words.split()[1]
            elif "comment" in words and chain:
                rules.append(CountedRule(family, table, chain, words.rpartition(" comment ")[0], None, None))
    return rules


def _run(argv: list[str]) -> str:
    """Return what a program prints; nothing when it fails, as it does for a table that is not there."""
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=30)  # noqa: S603 - no shell
    return done.stdout if done.returncode == 0 else ""
