"""Rules in the words in which nft(8) lists them."""

from shibafu.lean.ip import parse_cidr
from shibafu.netfilter.verdicts import ACCEPT, CONTINUE, DROP, GOTO, JUMP, RETURN, Rule

_VERDICTS = {"accept": ACCEPT, "drop": DROP, "reject": DROP, "return": RETURN, "continue": CONTINUE}
_VERDICTS |= {"jump": JUMP, "goto": GOTO, "queue": ACCEPT}
# Targets of iptables that let a packet go on, or reject it.
_XT_TARGETS = {"REJECT": DROP, "LOG": CONTINUE, "NFLOG": CONTINUE, "MARK": CONTINUE, "CONNMARK": CONTINUE}
_XT_TARGETS |= {"TCPMSS": CONTINUE, "DSCP": CONTINUE, "SET": CONTINUE}
_LINKS = {"iifname": "enters", "iif": "enters", "oifname": "leaves", "oif": "leaves"}
_COMPOUND = {".", "fib", "original", "reply"}
_ICMP = {"icmp", "icmpv6", "ipv6-icmp"}
_FAMILIES = {"ip": {4}, "ip6": {6}, "ipv4": {4}, "ipv6": {6}}


def parse_nft(listing: str) -> dict[tuple[str, str], dict[str, list[Rule]]]:
    """Return the rules of each chain of each table, which is named by its family and its name."""
    tables: dict[tuple[str, str], dict[str, list[Rule]]] = {}
    chains: dict[str, list[Rule]] = {}
    depth = 0
    chain: list[Rule] | None = None
    words: list[str] = []
    for line in listing.splitlines():
        if not words and line.startswith("#"):
            continue
        words += split_words(line)
        is_open = words.count("{") > words.count("}")
        if depth == 0 and words[:1] == ["table"] and is_open:
            chains = tables.setdefault((words[1], words[2]), {})
            depth = 1
        elif depth == 1 and is_open:
            # Of sets and the like only the end matters.
            chain = chains.setdefault(words[1], []) if words[0] == "chain" else None
            depth = 2
        elif words == ["}"]:
            depth -= 1
        elif is_open:
            continue  # a set that does not fit into a line
        elif depth == 2 and chain is not None and words and words[0] != "type":
            chain.append(parse_nft_rule(words))
        words = []
    return tables


def split_words(line: str) -> list[str]:
    """Return the words of a line; what is quoted is one word, which begins with a quote."""
    words: list[str] = []
    for i, piece in enumerate(line.split('"')):
        if i % 2:
            words.append(f'"{piece}')
        else:
            words += piece.replace(",", " , ").replace("{", " { ").replace("}", " } ").split()
    return words


def parse_nft_rule(words: list[str]) -> Rule:
    """Return a rule out of its words."""
    rule = Rule()
    rest = list(words)
    # Of conditions that are made of several, or are about other packets, none is understood.
    is_plain = _COMPOUND.isdisjoint(words)
    while rest:
        word = rest.pop(0)
        if word == "counter":
            continue
        if word == "comment":
            rest = rest[1:]
        elif word in _VERDICTS or word == "xt":
            _set_verdict(rule, word, rest)
            if rule.verdict != CONTINUE:
                return rule
        elif word == "vmap":
            rule.is_whole, rule.verdict = False, ACCEPT
            return rule
        elif not is_plain:
            rule.is_whole = False
        elif word == "meta" and rest and rest[0] in (*_LINKS, "nfproto", "l4proto"):
            continue
        elif word in _LINKS and rest:
            _read_condition(rule, _LINKS[word], rest)
        elif word == "ct" and rest[:1] == ["state"]:
            del rest[0]
            _read_condition(rule, "states", rest)
        elif word in ("ip", "ip6") and rest:
            rule.versions &= _FAMILIES[word]
            side = {"saddr": "sources", "daddr": "destinations"}.get(rest[0])
            if side:
                del rest[0]
                _read_condition(rule, side, rest)
        elif word in ("nfproto", "l4proto", "protocol", "nexthdr"):
            _read_protocol(rule, rest)
        elif word in ("icmp", "icmpv6"):
            rule.versions = set()
        elif word == "ct" and rest[:2] == ["status", "dnat"]:
            rule.versions = set()  # connections that containers open are not to published ports
        else:
            rule.is_whole = False
    return rule


def _set_verdict(rule: Rule, word: str, rest: list[str]) -> None:
    if word == "xt":
        rule.is_whole = False
        if rest[:1] == ["target"]:
            rule.verdict = _XT_TARGETS.get("".join(rest[1:2]).lstrip('"'), ACCEPT)
        return
    rule.verdict = _VERDICTS[word]
    rule.target = rest[0] if rest and rule.verdict in (JUMP, GOTO) else ""


def _read_condition(rule: Rule, name: str, rest: list[str]) -> None:
    """Take a condition's value from the words, and set it; or that it is not understood."""
    if rest[0] == "vmap":
        _read_map(rule, name, rest)
        return
    values, is_negated = _read_values(rest)
    if any(value.startswith("@") for value in values) or getattr(rule, name) is not None:
        rule.is_whole = False
    elif name in ("sources", "destinations"):
        try:
            setattr(rule, name, ([parse_cidr(_complete(value)) for value in values], is_negated))
        except ValueError:
            rule.is_whole = False
    else:
        setattr(rule, name, (values, is_negated))


def _complete(address: str) -> str:
    return address if "/" in address else f"{address}/{128 if ':' in address else 32}"


def _read_map(rule: Rule, name: str, rest: list[str]) -> None:
    """Read a map of verdicts; of such as accept some states only, that they do so."""
    entries = " ".join(rest[2 : rest.index("}")] if "}" in rest else []).split(" , ")
    rest.clear()
    pairs = [entry.split(" : ") for entry in entries]
    rule.is_whole, rule.verdict = False, ACCEPT
    if name == "states" and all(len(pair) == 2 for pair in pairs):
        # What is dropped in other states does not matter.
        rule.states = [pair[0] for pair in pairs if pair[1] != "drop"], False


def _read_protocol(rule: Rule, rest: list[str]) -> None:
    values, is_negated = _read_values(rest)
    if not is_negated and _ICMP.issuperset(values):
        rule.versions = set()  # it is not for connections
    elif not is_negated and len(values) == 1 and values[0] in _FAMILIES:
        rule.versions &= _FAMILIES[values[0]]
    else:
        rule.is_whole = False


def _read_values(rest: list[str]) -> tuple[list[str], bool]:
    """Take a value or a set of values from the words, and whether it is to be another."""
    is_negated = rest[0] == "!="
    if rest[0] in ("!=", "=="):
        del rest[0]
    if rest[:1] == ["{"]:
        end = rest.index("}") if "}" in rest else len(rest)
        values = [word.lstrip('"') for word in rest[1:end] if word != ","]
        del rest[: end + 1]
        return values, is_negated
    values = [word.lstrip('"') for word in rest[:1]]
    del rest[:1]
    while len(rest) > 1 and rest[0] == ",":
        values.append(rest[1])
        del rest[:2]
    return values, is_negated
