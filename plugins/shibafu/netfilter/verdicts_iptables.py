"""Rules in the words in which iptables(8) lists them with -S."""

from shibafu.lean.ip import parse_cidr
from shibafu.netfilter.verdicts import ACCEPT, CONTINUE, DROP, GOTO, JUMP, RETURN, Rule
from shibafu.netfilter.verdicts_nftables import split_words

_TARGETS = {"ACCEPT": ACCEPT, "DROP": DROP, "REJECT": DROP, "RETURN": RETURN}
_TARGETS |= dict.fromkeys(("LOG", "NFLOG", "MARK", "CONNMARK", "TCPMSS", "DSCP", "SET"), CONTINUE)
_LINKS = {"-i": "enters", "-o": "leaves"}
_SUBNETS = {"-s": "sources", "-d": "destinations"}
_STATES = ("--ctstate", "--state")
_NO_CONDITIONS = {("-m", "comment"), ("-m", "conntrack"), ("-m", "state")}
_ICMP = ("icmp", "ipv6-icmp", "icmpv6")


def parse_iptables(listing: str) -> tuple[dict[str, str], dict[str, list[Rule]]]:
    """Return the policies of the table's own chains, and the rules of all chains."""
    policies: dict[str, str] = {}
    chains: dict[str, list[Rule]] = {}
    for line in listing.splitlines():
        words = split_words(line.replace('\\"', "'"))
        if words[:1] == ["-P"]:
            policies[words[1]] = _TARGETS.get(words[2], ACCEPT)
            chains[words[1]] = []
        elif words[:1] == ["-N"]:
            chains[words[1]] = []
        elif words[:1] == ["-A"]:
            chains.setdefault(words[1], []).append(parse_iptables_rule(words[2:], chains))
    return policies, chains


def parse_iptables_rule(words: list[str], chains: dict[str, list[Rule]]) -> Rule:
    """Parse a rule from its words; `chains` are all existing ones."""
    rule = Rule()
    is_negated = False
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word == "!":
            is_negated = True
            continue
        # Options have none, one or several values; of those that matter here, each has one.
        has_value = word[0] == "-" and rest and rest[0][0] not in "-!"
        value = rest.pop(0) if has_value else ""
        if word in _LINKS:
            setattr(rule, _LINKS[word], ([value[:-1] + "*" if value.endswith("+") else value], is_negated))
        elif word in _SUBNETS:
            try:
                setattr(rule, _SUBNETS[word], ([parse_cidr(value)], is_negated))
            except ValueError:
                rule.is_whole = False
        elif word in _STATES:
            values = [value]
            while len(rest) > 1 and rest[0] == ",":
                values.append(rest[1])
                del rest[:2]
            rule.states = [state.lower() for state in values], is_negated
        elif word == "-p" and value in _ICMP and not is_negated:
            rule.versions = set()  # it is not for connections
        elif word in ("-j", "-g"):
            if value in chains:
                rule.verdict, rule.target = JUMP if word == "-j" else GOTO, value
            else:
                rule.verdict = _TARGETS.get(value, ACCEPT)
            return rule  # what follows are the target's options
        elif word != "--comment" and (word, value) not in _NO_CONDITIONS:
            rule.is_whole = False
        is_negated = False
    return rule
