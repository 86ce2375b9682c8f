"""The nftables backend: rulesets, each a table of its own, put into the kernel by nft(8)."""

from shibafu.cni.errors import FIREWALL, CniError
from shibafu.lean.subprocess import Child, find_program
from shibafu.netfilter.render_nftables import (
    RulesetListing,
    render_content,
    render_list,
    render_setup,
    render_teardown,
    render_without_elements,
)
from shibafu.netfilter.ruleset import MISSING, MIXED, Ruleset

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


class Nft:
    """The program nft(8).

    Args:
        env: the environment; its PATH is where nft is searched, besides the system's directories.

    Raises:
        CniError: nft is not installed.
    """

    __slots__ = ("_env", "_path", "pids")

    def __init__(self, env: "Mapping[str, str]") -> None:
        path = find_program("nft", env.get("PATH", ""))
        if path is None:
            raise CniError(FIREWALL, "nft is not installed", "install nftables")
        self._path = path
        self._env = env
        # Its processes until now.
        self.pids: list[int] = []

    def start(self, text: str | None, *options: str) -> Child:
        """Begin a transaction; without a text, one that begins when the child is fed with it.

        Raises:
            CniError: nft cannot be executed.
        """
        argv = [self._path, *options, "-f", "-"]
        try:
            stdin = text.encode() if text is not None else None
            child = Child(self._path, argv, self._env, stdin, keep_stderr=True)
        except OSError as error:
            raise CniError(FIREWALL, f"cannot execute {self._path}: {error.strerror}") from None
        self.pids.append(child.pid)
        return child

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
        """Return what is in a table, on request with the numbers of its parts; empty without a table.

        Raises:
            CniError: nft cannot be executed.
        """
        child = self.start(f"list table {table}\n", *(["--handle"] if handles else []))
        status, stdout, _ = child.wait()
        return "" if status else stdout.decode("utf-8", "replace")


class Nftables:
    """Makes, compares and removes a ruleset; `iptables.Iptables` has the same methods for its own.

    Making sure of a ruleset is making it: one transaction, as cheap as looking for it.

    Args:
        ruleset: what is wanted.
        env: the environment.

    Raises:
        CniError: nft is not installed.
    """

    __slots__ = ("_child", "_is_check", "_is_exact", "_nft", "_ruleset", "detail", "fault")

    def __init__(self, ruleset: Ruleset, env: "Mapping[str, str]") -> None:
        # What is wrong with the rules once `finish` has returned False, and which of them it is.
        self.fault = MISSING
        self.detail = ""
        self._ruleset = ruleset
        self._nft = Nft(env)
        self._child: Child | None = None
        self._is_check = False
        self._is_exact = False

    @property
    def pids(self) -> list[int]:
        """The processes that have looked at it, or made it."""
        return self._nft.pids

    def start_ensure(self) -> None:
        """Begin to make sure of it.

        Raises:
            CniError: nft cannot be executed.
        """
        self.start_setup(set())

    def start_check(self, is_exact: bool = True) -> None:
        """Begin to compare it with the existing rules, without changing anything.

        Args:
            is_exact: whether there should be no other rules in its chains.

        Raises:
            CniError: nft cannot be executed.
        """
        self._is_check = True
        self._is_exact = is_exact
        self._child = self._nft.start(render_list(self._ruleset))

    def start_setup(self, others: set[int]) -> None:
        """Begin to make it.

        Raises:
            CniError: nft cannot be executed.
        """
        self._is_check = False
        self._child = self._nft.start(render_setup(self._ruleset))

    def finish(self) -> bool:
        """Wait for what was begun; return whether it succeeded."""
        child, self._child = self._child, None
        if child is None:
            return True
        status, stdout, _ = child.wait()
        if self._is_check:
            listing = RulesetListing("" if status else stdout.decode("utf-8", "replace"))
            missing = listing.find_missing(self._ruleset)
            self.fault = MISSING if missing else MIXED
            self.detail = missing or (listing.find_stray(self._ruleset) if self._is_exact else "")
            return not self.detail
        return status == 0

    def repair(self) -> None:
        """Make it out of whatever is left of it.

        Raises:
            CniError: nft refused.
        """
        self._nft.run(render_setup(self._ruleset))

    def extend(self) -> bool:
        """Make sure of chains and elements; return False if the table is missing.

        Raises:
            CniError: nft cannot be executed.
        """
        return self._nft.start(render_content(self._ruleset)).wait()[0] == 0

    def remove_elements(self) -> None:
        """Take its elements away, and leave others in its sets.

        Raises:
            CniError: nft refused.
        """
        self._nft.run(render_without_elements(self._ruleset))

    def read(self) -> RulesetListing:
        """Return what is there."""
        return RulesetListing(self._nft.list_table(self._ruleset.name))

    def teardown(self) -> None:
        """Remove all of it.

        Raises:
            CniError: nft refused.
        """
        self._nft.run(render_teardown(self._ruleset))

    def prepare_teardown(self, others: set[int]) -> None:
        """Start the program that will remove all of it.

        Raises:
            CniError: nft cannot be executed.
        """
        self._child = self._nft.start(None)

    def cancel_teardown(self) -> None:
        """End it before it has begun."""
        child, self._child = self._child, None
        if child is not None:
            child.withdraw()

    def start_teardown(self) -> None:
        """Tell it to begin."""
        if self._child is not None:
            self._child.feed(render_teardown(self._ruleset).encode())
            self._child.finish_input()

    def finish_teardown(self) -> None:
        """Wait until everything is removed; absence counts as success.

        Raises:
            CniError: nft refused.
        """
        child, self._child = self._child, None
        if child is not None and not child.wait_until_silent():
            # Once more, to have the refusal's text.
            self.teardown()
