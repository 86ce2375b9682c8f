"""A network's rules in iptables, and what iptables prints of them."""

from shibafu.lean.ip import parse_cidr
from shibafu.netfilter.network_rulesets import NetworkRules

RULES = NetworkRules("net", ["br0"], [parse_cidr("10.10.0.0/24"), parse_cidr("fd00:10::/64")])
CHAIN = RULES.chain
COMMENT = '-m comment --comment "shibafu network net"'
JUMP = f"{COMMENT} -j {CHAIN}"
TABLES = {"filter": ["FORWARD"], "nat": ["POSTROUTING"], "mangle": ["PREROUTING", "INPUT"]}
SPOOFED = "0x5b1b0000/0xffff0000"
KNOWN = "-m conntrack --ctstate RELATED,ESTABLISHED"
# What iptables -S prints of the hooks.
OPENED = f"{COMMENT} {KNOWN} --ctorigsrc 10.10.0.0/24"
FORWARDS = [
    f"{OPENED} -j SHIBAFU-ADMIN",
    f"! -s 127.0.0.0/8 -o br0 {OPENED} -j ACCEPT",
    f"! -s 127.0.0.0/8 -i br0 {OPENED} -j ACCEPT",
    f"-i br0 {JUMP}",
    f"! -i br0 -o br0 {JUMP}",
]
PREROUTING = f"-i br0 {COMMENT} -m conntrack ! --ctstate RELATED,ESTABLISHED -j {CHAIN}-P"
INPUT = f"-i br0 {JUMP}-I"
NAT_JUMP, PREROUTING_JUMP, INPUT_JUMP = (
    f"-A POSTROUTING {JUMP}",
    f"-A PREROUTING {PREROUTING}",
    f"-A INPUT {INPUT}",
)
FORWARD_JUMPS = "\n".join(f"-A FORWARD {rule}" for rule in FORWARDS)
EMPTY = "".join(f"-P {hook} ACCEPT\n" for hooks in TABLES.values() for hook in hooks)
ALL_THERE = "\n".join([EMPTY + NAT_JUMP, FORWARD_JUMPS, PREROUTING_JUMP, INPUT_JUMP]) + "\n"


def table_of(text: str, table: str) -> list[str]:
    """Return the lines of one table's transaction."""
    lines = text.splitlines()
    begin = lines.index(f"*{table}") + 1
    return lines[begin : lines.index("COMMIT", begin)]


def insert(hook: str, rules: list[str], first: int = 1) -> list[str]:
    """Return the lines that put rules into a chain of the kernel's, in their order."""
    return [f"-I {hook} {place} {rule}" for place, rule in enumerate(rules, first)]
