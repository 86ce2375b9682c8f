"""The nftables backend: a table of our own for each network, written by one `nft -f -` transaction.

The transaction empties the table and fills it again, which is atomic for packets and right whatever was
there before: making sure, making and repairing are the same. Accepting in a table of one's own does
not overrule another table's drop, so this backend masquerades and leaves forwarding to the
administrator's rules; a drop is final, so it isolates as well. See nft(8), "VERDICT STATEMENTS".
"""

from shibafu.cni.errors import FIREWALL, CniError
from shibafu.cni.names import INTERNAL_GROUP, ISOLATED_GROUP
from shibafu.cni.process import Child, find_program
from shibafu.netfilter.rules import LOOPBACK, MISSING, MULTICAST, NetworkRules

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_FAMILY = {4: "ip", 6: "ip6"}
_CHAINS = {
    "prerouting": "type filter hook prerouting priority -300",
    "postrouting": "type nat hook postrouting priority 100",
    "forward": "type filter hook forward priority 0",
}


def calc_table(rules: NetworkRules) -> str:
    """Return the family and name of the network's table."""
    return f"inet {rules.chain.lower()}"


def calc_rules(rules: NetworkRules) -> dict[str, list[str]]:
    """Return the rules of each chain, without comments, as nft lists them."""
    chains = {
        "prerouting": [
            f'iifname "{name}" ip {side} {LOOPBACK} drop'
            for name in rules.bridges
            for side in ("daddr", "saddr")
        ],
        "forward": (_calc_isolation(rules) if rules.is_isolated else [])
        + (_calc_spoofing(rules) if rules.is_masqueraded else []),
        "postrouting": _calc_masquerading(rules) if rules.is_masqueraded else [],
    }
    return {chain: texts for chain, texts in chains.items() if texts}


def _calc_isolation(rules: NetworkRules) -> list[str]:
    # One rule would do, but nft's releases list "not" of a state or a status in different ways.
    texts = []
    for name in rules.bridges:
        others = f'iifname "{name}" oifname != "{name}" oifgroup {ISOLATED_GROUP}'
        texts += [f"{others} ct status dnat return", f"{others} ct state invalid,new,untracked drop"]
    return texts


def _calc_spoofing(rules: NetworkRules) -> list[str]:
    """Return the rules that keep sources in that are not behind the bridge, as the routes say."""
    opened = "ct state invalid,new,untracked"
    return [
        f'iifname "{name}" oifname != "{name}" {opened} fib saddr . iif oif missing drop'
        for name in rules.bridges
    ]


def _calc_masquerading(rules: NetworkRules) -> list[str]:
    texts = []
    for version in rules.versions():
        family = _FAMILY[version]
        subnets = rules.of_version(version)
        texts += [f"{family} daddr {subnet} return" for subnet in subnets]
        texts += [
            f"{family} saddr {subnet} {family} daddr != {MULTICAST[version]} masquerade" for subnet in subnets
        ]
    return texts


def calc_setup(rules: NetworkRules) -> str:
    """Return the input that makes the table what it shall be."""
    table = calc_table(rules)
    lines = [f"add table {table}", f"flush table {table}"]
    for chain, texts in calc_rules(rules).items():
        lines.append(f"add chain {table} {chain} {{ {_CHAINS[chain]}; }}")
        lines += [f'add rule {table} {chain} {text} comment "{rules.comment}"' for text in texts]
    return "\n".join(lines) + "\n"


def is_listed(text: str, listing: str) -> bool:
    """Tell whether a rule of ours is in what nft lists."""
    # A group is listed by its name, if somebody gave it one in /etc/iproute2/group.
    group = INTERNAL_GROUP if str(INTERNAL_GROUP) in text else ISOLATED_GROUP
    head, _, tail = text.partition(str(group))
    return any(line.strip().startswith(head) and tail in line for line in listing.splitlines())


def calc_teardown(table: str) -> str:
    """Return the input that removes a table, whether it is there or not."""
    return f"add table {table}\ndelete table {table}\n"


class Nft:
    """The program nft(8).

    Args:
        env: the environment; its PATH is where nft is searched, besides the system's directories.

    Raises:
        CniError: nft is not installed.
    """

    __slots__ = ("_env", "_path")

    def __init__(self, env: "Mapping[str, str]") -> None:
        path = find_program("nft", env.get("PATH", ""))
        if path is None:
            raise CniError(FIREWALL, "nft is not installed", "install nftables")
        self._path = path
        self._env = env

    def start(self, text: str | None, *options: str) -> Child:
        """Begin a transaction; without a text, one that begins when the child is fed with it."""
        argv = [self._path, *options, "-f", "-"]
        try:
            stdin = text.encode() if text is not None else None
            return Child(self._path, argv, self._env, stdin, keep_stderr=True)
        except OSError as error:
            raise CniError(FIREWALL, f"cannot execute {self._path}: {error.strerror}") from None

    def run(self, text: str) -> str:
        """Do a transaction and return what it printed.

        Raises:
            CniError: nft refused.
        """
        status, stdout, stderr = self.start(text).wait()
        if status:
            said = stderr.decode("utf-8", "replace").strip()
            raise CniError(FIREWALL, f"nft refused the rules: {said}", text)
        return stdout.decode("utf-8", "replace")

    def list_table(self, table: str, handles: bool = False) -> str:
        """Return what is in a table, on request with the numbers of its parts; empty without a table."""
        child = self.start(f"list table {table}\n", *(["--handle"] if handles else []))
        status, stdout, _ = child.wait()
        return "" if status else stdout.decode("utf-8", "replace")


class Nftables:
    """Puts a network's rules into the kernel; see `iptables.Iptables`, which has the same methods.

    Args:
        rules: what shall be there.
        env: the environment.

    Raises:
        CniError: nft is not installed.
    """

    __slots__ = ("_child", "_expected", "_nft", "fault", "rules")

    def __init__(self, rules: NetworkRules, env: "Mapping[str, str]") -> None:
        self.rules = rules
        self.fault = MISSING
        self._nft = Nft(env)
        self._child: Child | None = None
        self._expected: list[str] = []

    def start_ensure(self) -> None:
        """Begin to make sure of the rules: making them is as cheap as looking for them."""
        self.start_setup(set())

    def start_check(self) -> None:
        """Begin to find out whether all rules are there, without changing anything."""
        self._expected = [text for texts in calc_rules(self.rules).values() for text in texts]
        self._child = self._nft.start(f"list table {calc_table(self.rules)}\n")

    def start_setup(self, others: set[int]) -> None:
        """Begin to make the rules."""
        self._expected = []
        self._child = self._nft.start(calc_setup(self.rules))

    def finish(self) -> bool:
        """Wait for what was begun; return whether it succeeded."""
        child, self._child = self._child, None
        if child is None:
            return True
        status, stdout, _ = child.wait()
        listing = stdout.decode("utf-8", "replace")
        return status == 0 and all(is_listed(text, listing) for text in self._expected)

    def repair(self) -> None:
        """Make the rules out of whatever is left of them.

        Raises:
            CniError: nft refused.
        """
        self._nft.run(calc_setup(self.rules))

    def prepare_teardown(self, others: set[int]) -> None:
        """Start the program that will remove everything of the network."""
        self._child = self._nft.start(None)

    def start_teardown(self) -> None:
        """Tell it to begin."""
        if self._child is not None:
            self._child.feed(calc_teardown(calc_table(self.rules)).encode())
            self._child.finish_input()

    def finish_teardown(self) -> None:
        """Wait until everything is removed; what was not there is no error.

        Raises:
            CniError: nft refused.
        """
        child, self._child = self._child, None
        if child is not None and not child.wait_until_silent():
            # Once more, to have the refusal's text.
            self._nft.run(calc_teardown(calc_table(self.rules)))
