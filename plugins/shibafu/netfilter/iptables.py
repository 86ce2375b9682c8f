"""The iptables backend: each family's rules in one iptables-restore(8) transaction a table.

A network has one chain of the same name in the tables nat, filter and raw, those of them that it needs, and
jumps to it from POSTROUTING, FORWARD and PREROUTING. The jumps carry the network's name, so that they are
found and removed whatever the configuration was when they were made.

One process checks all rules with `-C` lines, and lists FORWARD for their order (3 ms beside other work, where
one process for each rule is what makes others slow); it is started early and collected late. iptables-restore
works the same with the nft and the legacy variant, both of which were tried.
"""

import os

from shibafu.cni.errors import FIREWALL, CniError
from shibafu.cni.names import ISOLATED_GROUP
from shibafu.cni.process import Child, find_program
from shibafu.netfilter.rules import LOOPBACK, MISSING, MULTICAST, NetworkRules

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from shibafu.netfilter.commits import CommitWatch

_PROGRAM = {4: "iptables-restore", 6: "ip6tables-restore"}
# There if the kernel has the family at all.
_SWITCHES = {4: "/proc/sys/net/ipv4", 6: "/proc/sys/net/ipv6"}
# Each table and the chain of the kernel that jumps to ours. First the one that may be refused, while nothing
# of the others is done: it has what networks share.
_HOOKS = (("filter", "FORWARD"), ("nat", "POSTROUTING"), ("raw", "PREROUTING"))
# The chains of the reference's firewall plugin and of Docker that drop packets, or lead to an administrator's
# chain that does (CNI-ADMIN): what FORWARD accepts for us must not have overtaken them.
PRECEDING = ("CNI-ISOLATION-STAGE-1", "CNI-FORWARD", "DOCKER-USER")
# The administrator's: made if it is missing, and removed with the last network if it is empty; its rules are
# never touched. The chain of each network leads there before all else.
ADMIN = "SHIBAFU-ADMIN"
# The upper half of a packet's mark, from raw to filter, where its source is not behind the bridge.
_SPOOFED = f"{ISOLATED_GROUP << 16:#x}/0xffff0000"
# Seconds to wait for the legacy variant's lock.
_LOCK_WAIT = "30"
# Seconds for transactions to be announced; the legacy variant announces none.
_COMMIT_PATIENCE = 0.004


def calc_chain_rules(rules: NetworkRules, version: int, table: str) -> list[str]:
    """Return the rules inside the network's chain of one table, in iptables-save's words."""
    if table == "filter":
        return [
            *_calc_administration(rules),
            *_calc_isolation(rules),
            *_calc_bridging(rules, version),
            *_calc_forwarding(rules, version),
        ]
    if table == "raw":
        return _calc_ingress(rules, version)
    subnets = rules.masqueraded_of(version)
    return [f"-d {subnet} -j RETURN" for subnet in subnets] + [
        f"-s {subnet} ! -d {MULTICAST[version]} -j MASQUERADE" for subnet in subnets
    ]


def _calc_administration(rules: NetworkRules) -> list[str]:
    return [f"{way} -j {ADMIN}" for name in rules.bridges for way in (f"-i {name}", f"! -i {name} -o {name}")]


def _calc_isolation(rules: NetworkRules) -> list[str]:
    """Return the rules, one for each bridge, that keep other isolated networks apart.

    Only the network's own chain accepts what comes in from its bridge, so that it does for both
    directions, and knows the others by their links' group.
    """
    if not rules.is_isolated:
        return []
    others = [f"-i {name} ! -o {name} -m devgroup --dst-group {ISOLATED_GROUP:#x}" for name in rules.bridges]
    return [f"{other} -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP" for other in others]


def _calc_bridging(rules: NetworkRules, version: int) -> list[str]:
    """Return the rules, one for each bridge, that let containers reach their neighbours, as a switch does."""
    if rules.masqueraded_of(version):
        return [f"-i {name} -o {name} -j ACCEPT" for name in rules.bridges]
    if version not in rules.bridged:
        return []
    # What the host routes is the administrator's. The match loads br_netfilter, which is there.
    return [f"-i {name} -o {name} -m physdev --physdev-is-bridged -j ACCEPT" for name in rules.bridges]


def _calc_forwarding(rules: NetworkRules, version: int) -> list[str]:
    """Return the rules that let a masqueraded network's traffic through, and no spoofed sources.

    Whether a source is spoofed the routes decide, not the subnets: networks may share a bridge.
    """
    subnets = rules.masqueraded_of(version)
    if not subnets:
        return []
    lines = []
    for name in rules.bridges:
        spoofed = f"-i {name} ! -o {name} -m mark --mark {_SPOOFED}"
        lines.append(f"{spoofed} -m conntrack ! --ctstate RELATED,ESTABLISHED -j DROP")
        lines += [f"-s {subnet} -i {name} -j ACCEPT" for subnet in subnets]
        # Of another address as well: that of the container's interface on another network.
        lines.append(f"-i {name} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT")
        lines.append(f"-o {name} -m conntrack --ctstate RELATED,ESTABLISHED,DNAT -j ACCEPT")
    return lines


def _calc_ingress(rules: NetworkRules, version: int) -> list[str]:
    """Return the rules for what has just come in from the bridge, before anything is translated.

    The reference's portmap plugin lets the host route 127.0.0.1 between its bridges and itself, and then the
    kernel takes other addresses of that network for sources, too. Answers to what the host sent from there
    do not have that destination yet.
    """
    # For IPv6 the kernel drops it.
    lines = [f"-{side} {LOOPBACK} -j DROP" for side in ("d", "s")] if version == 4 else []
    if rules.masqueraded_of(version):
        lines.append(f"-m rpfilter --invert -j MARK --set-xmark {_SPOOFED}")
    return lines


def _calc_hooks(rules: NetworkRules, version: int) -> list[tuple[str, str]]:
    """Return those of `_HOOKS` that the network needs."""
    return [hook for hook in _HOOKS if hook[0] == "filter" or calc_chain_rules(rules, version, hook[0])]


def calc_jumps(rules: NetworkRules, table: str) -> list[str]:
    """Return the jumps to the network's chain of one table, in iptables-save's words."""
    jump = f'-m comment --comment "{rules.comment}" -j {rules.chain}'
    # All that any link receives passes PREROUTING: other links' packets go on at once.
    return [f"-i {name} {jump}" for name in rules.bridges] if table == "raw" else [jump]


def calc_check(rules: NetworkRules, version: int) -> str:
    """Return the input that succeeds when all rules are there, and prints FORWARD."""
    lines = []
    for table, hook in _calc_hooks(rules, version):
        lines.append(f"*{table}")
        lines += [f"-C {hook} {jump}" for jump in calc_jumps(rules, table)]
        lines += [f"-C {rules.chain} {rule}" for rule in calc_chain_rules(rules, version, table)]
        if table == "filter":
            lines.append(f"-S {hook}")
        lines.append("COMMIT")
    return "\n".join(lines) + "\n"


def calc_setup(rules: NetworkRules, version: int, has_admin: bool = True) -> str:
    """Return the input that makes all rules, at the top of FORWARD, and prints what is there then.

    It fails when the network's chain is already there. (To have it fail where a chain is that must come
    before, by making and removing that, would cost the nft variant the 20 ms of a removal.)

    Args:
        rules: what is wanted.
        version: 4 or 6.
        has_admin: whether the administrator's chain is there; it fails when that is not so.
    """
    lines = []
    for table, hook in _calc_hooks(rules, version):
        lines.append(f"*{table}")
        if table == "filter":
            lines += _make_admin(has_admin)
        lines.append(f"-N {rules.chain}")
        lines += [f"-A {rules.chain} {rule}" for rule in calc_chain_rules(rules, version, table)]
        lines += [f"{_calc_place(hook, [])} {jump}" for jump in calc_jumps(rules, table)]
        lines.append("COMMIT")
    # By itself: the nft variant does not make FORWARD, if it has to, for a transaction that lists it.
    lines += ["*filter", "-S FORWARD", "COMMIT"]
    return "\n".join(lines) + "\n"


def _make_admin(has_admin: bool) -> list[str]:
    return [] if has_admin else [f"-N {ADMIN}"]


def calc_repair(rules: NetworkRules, version: int, existing: str, has_admin: bool = True) -> str:
    """Return the input that makes all rules out of whatever is left of them.

    Args:
        rules: what is wanted.
        version: 4 or 6.
        existing: the rules of the hooks, as `calc_list` makes them printed.
        has_admin: whether the administrator's chain is there; it fails when that is not so.
    """
    lines = []
    for table, hook in _calc_hooks(rules, version):
        # ":chain" makes the chain, or empties the one that is there.
        lines += [f"*{table}", f":{rules.chain} - [0:0]"]
        if table == "filter":
            lines += _make_admin(has_admin)
        lines += [f"-A {rules.chain} {rule}" for rule in calc_chain_rules(rules, version, table)]
        present, wanted = _find_jumps(existing, hook, rules.chain), calc_jumps(rules, table)
        if present != wanted or find_overtaken(existing, rules.chain):
            lines += [f"-D {hook} {jump}" for jump in present]
            others = [rule for rule in _list_hook(existing, hook) if rule not in present]
            lines += [f"{_calc_place(hook, others)} {jump}" for jump in wanted]
        lines.append("COMMIT")
    return "\n".join(lines) + "\n"


def _calc_place(hook: str, rules: list[str]) -> str:
    """Return the command that puts a jump where it takes effect, among the hook's other rules.

    In FORWARD directly behind what must come before it; not at the end, since many a firewall's last rule
    there rejects.
    """
    if hook == "POSTROUTING":
        return f"-A {hook}"
    before = [i for i, rule in enumerate(rules, 1) if _calc_target(rule) in PRECEDING]
    return f"-I {hook} {max(before, default=0) + 1}"


def find_overtaken(existing: str, chain: str) -> str:
    """Return a chain of `PRECEDING` that FORWARD comes to after the network's; empty if there is none."""
    targets = [_calc_target(rule) for rule in _list_hook(existing, "FORWARD")]
    behind = targets[targets.index(chain) :] if chain in targets else []
    return next((target for target in behind if target in PRECEDING), "")


def calc_teardown(rules: NetworkRules, version: int, existing: str | None = None) -> str:
    """Return the input that removes the network's chain and the jumps to it.

    Args:
        rules: the network.
        version: 4 or 6.
        existing: the rules of the hooks, where jumps may be missing or doubled; by default there are those
            that the rules say, and the input fails when that is not so.
    """
    lines = []
    for table, hook in _calc_hooks(rules, version) if existing is None else _HOOKS:
        lines.append(f"*{table}")
        if existing is None:
            jumps = calc_jumps(rules, table)
        else:
            jumps = _find_jumps(existing, hook, rules.chain)
            # Makes a chain that is missing, so that all can be removed in the same way.
            lines.append(f":{rules.chain} - [0:0]")
        lines += [f"-D {hook} {jump}" for jump in jumps]
        lines += [f"-F {rules.chain}", f"-X {rules.chain}", "COMMIT"]
    return "\n".join(lines) + "\n"


def calc_admin_teardown() -> str:
    """Return the input that removes the administrator's chain; it fails if that has rules, or is in use."""
    return f"*filter\n-X {ADMIN}\nCOMMIT\n"


def calc_list() -> str:
    """Return the input that prints the rules of all hooks, with `-S` as in iptables(8)."""
    return "".join(f"*{table}\n-S {hook}\nCOMMIT\n" for table, hook in _HOOKS)


def _list_hook(existing: str, hook: str) -> list[str]:
    """Return the rules of a hook out of what `calc_list` makes printed."""
    head = f"-A {hook} "
    return [line.removeprefix(head) for line in existing.splitlines() if line.startswith(head)]


def _find_jumps(existing: str, hook: str, chain: str) -> list[str]:
    return [rule for rule in _list_hook(existing, hook) if _calc_target(rule) == chain]


def _calc_target(rule: str) -> str:
    """Return where a rule jumps to; empty for one that has a target with options."""
    head, _, target = rule.rpartition(" ")
    return target if head == "-j" or head.endswith(" -j") else ""


class Iptables:
    """Puts a network's rules into the kernel.

    Args:
        rules: what shall be there.
        env: the environment; its PATH is where the programs are searched, besides the system's directories.

    Raises:
        CniError: a program is not installed.
    """

    __slots__ = ("_children", "_env", "_others", "_programs", "_watch", "fault", "rules")

    def __init__(self, rules: NetworkRules, env: "Mapping[str, str]") -> None:
        self.rules = rules
        # What is wrong with the rules, once `finish` has returned False.
        self.fault = MISSING
        self._env = env
        self._programs: dict[int, str] = {}
        self._children: dict[int, Child] = {}
        self._watch: CommitWatch | None = None
        self._others: set[int] = set()
        for version in rules.versions():
            if not rules.of_version(version) and not os.path.lexists(_SWITCHES[version]):
                continue
            name = _PROGRAM[version]
            path = find_program(name, env.get("PATH", ""))
            if path is None:
                raise CniError(
                    FIREWALL,
                    f"{name} is not installed",
                    'install iptables, or set "ipMasq" and "isolate" to false',
                )
            self._programs[version] = path

    def start_ensure(self) -> None:
        """Begin to make sure of rules that should be there; when `finish` is false, `repair` them."""
        self.start_check()

    def start_check(self) -> None:
        """Begin to find out whether all rules are there, without changing anything."""
        self._start({version: calc_check(self.rules, version) for version in self._programs})

    def start_setup(self, others: set[int]) -> None:
        """Begin to make the rules of a network that has none; when `finish` is false, `repair` them.

        Args:
            others: the families in which there probably are other networks' rules, and so the
                administrator's chain.
        """
        inputs = {version: calc_setup(self.rules, version, version in others) for version in self._programs}
        self._start(inputs)

    def finish(self) -> bool:
        """Wait for what was begun; return whether it succeeded for both families."""
        results = [child.wait() for child in self._children.values()]
        self._children = {}
        self.fault = MISSING
        if any(status for status, _, _ in results):
            return False
        overtaken = [find_overtaken(stdout.decode(), self.rules.chain) for _, stdout, _ in results]
        first = next(filter(None, overtaken), "")
        self.fault = f"come before those of chain {first}"
        return not first

    def repair(self) -> None:
        """Make the rules out of whatever is left of them.

        Raises:
            CniError: iptables refused.
        """
        for version, program in self._programs.items():
            existing = self._run(program, calc_list())
            with_admin, without_admin = (
                calc_repair(self.rules, version, existing, has_admin) for has_admin in (True, False)
            )
            # Another network's first ADD or last DEL may make or remove it at the same moment.
            attempts = (with_admin, without_admin)
            if not any(self._spawn(program, text).wait()[0] == 0 for text in attempts):
                self._run(program, with_admin)

    def prepare_teardown(self, others: set[int]) -> None:
        """Start the programs that will remove everything of the network.

        Args:
            others: the families in which there are other networks' rules, so that the administrator's
                chain stays.
        """
        self._others = others
        from shibafu.netfilter.commits import CommitWatch

        self._watch = CommitWatch()
        for version, program in self._programs.items():
            child = self._spawn(program, None, (self._watch.fileno(),))
            # Looking up the extensions that rules use opens and closes sockets: better now.
            child.feed(self._split_teardown(version)[0])
            self._children[version] = child

    def start_teardown(self) -> None:
        """Tell the first to begin.

        One after the other: transactions at the same moment make iptables start over, with a new socket.
        And not before links are deleted: the kernel has one lock for both.
        """
        for version, child in list(self._children.items())[:1]:
            child.feed(self._split_teardown(version)[1])

    def _split_teardown(self, version: int) -> tuple[bytes, bytes]:
        """Return the input in two parts: what can be read ahead, and from the first COMMIT on."""
        text = calc_teardown(self.rules, version)
        if version not in self._others:
            text += calc_admin_teardown()
        head, commit, tail = text.partition("COMMIT\n")
        return head.encode(), f"{commit}{tail}".encode()

    def finish_teardown(self) -> None:
        """Wait until everything is removed; what was not there is no error.

        Raises:
            CniError: iptables refused.
        """
        children, self._children = self._children, {}
        watch, is_done = self._watch, True
        late = []
        for i, (version, child) in enumerate(children.items()):
            if i:
                child.feed(self._split_teardown(version)[1])
            commits = len(_calc_hooks(self.rules, version))
            is_done = is_done and watch is not None and watch.wait(child.pid, commits, _COMMIT_PATIENCE)
            if is_done and watch is not None and version not in self._others:
                # It does not come if the administrator has rules, which is as good, or the machine is busy.
                late += [] if watch.wait(child.pid, 1, _COMMIT_PATIENCE) else [child]
        for child in children.values():
            child.finish_input()
        if is_done:
            for child in late:
                child.wait_until_silent()
            return
        failed = [version for version, child in children.items() if not child.wait_until_silent()]
        for version in failed:
            # Somebody removed or doubled a part of it.
            program = self._programs[version]
            existing = self._run(program, calc_list())
            self._run(program, calc_teardown(self.rules, version, existing))
            self._spawn(program, calc_admin_teardown()).wait()

    def _start(self, inputs: dict[int, str]) -> None:
        for version, text in inputs.items():
            self._children[version] = self._spawn(self._programs[version], text)

    def _spawn(self, program: str, text: str | None, inherit: tuple[int, ...] = ()) -> Child:
        argv = [program, "--noflush", "--wait", _LOCK_WAIT]
        try:
            stdin = text.encode() if text is not None else None
            return Child(program, argv, self._env, stdin, keep_stderr=True, inherit=inherit)
        except OSError as error:
            raise CniError(FIREWALL, f"cannot execute {program}: {error.strerror}") from None

    def _run(self, program: str, text: str) -> str:
        status, stdout, stderr = self._spawn(program, text).wait()
        if status:
            said = stderr.decode("utf-8", "replace").strip()
            name = program.rpartition("/")[2]
            network = self.rules.network
            raise CniError(FIREWALL, f"{name} refused the rules of network {network}: {said}", text)
        return stdout.decode()
