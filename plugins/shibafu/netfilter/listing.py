"""What iptables lists for both families, for networks whose rules have no record."""

from shibafu.cni.errors import FIREWALL, CniError
from shibafu.lean.subprocess import find_program
from shibafu.netfilter.network_rulesets import PROGRAMS
from shibafu.netfilter.restore import decode, spawn_restore

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


class Listing:
    """Rules in iptables-save's words, listed when they are first asked for.

    A program that is not installed, or fails, lists none.

    Args:
        env: the environment; its PATH is where the programs are searched.
        text: what iptables-restore is asked to list.
    """

    __slots__ = ("_env", "_lines", "_programs", "_text")

    def __init__(self, env: "Mapping[str, str]", text: str) -> None:
        self._env = env
        self._text = text
        found = {version: find_program(name, env.get("PATH", "")) for version, name in PROGRAMS.items()}
        self._programs = {version: path for version, path in found.items() if path is not None}
        self._lines: dict[int, list[str]] | None = None

    @property
    def lines(self) -> dict[int, list[str]]:
        """What is listed, by family.

        Raises:
            CniError: a program cannot be executed.
        """
        if self._lines is None:
            children = {
                version: spawn_restore(path, self._env, self._text)
                for version, path in self._programs.items()
            }
            self._lines = {
                version: decode(child.wait()[1]).splitlines() for version, child in children.items()
            }
        return self._lines

    def jumps(self, version: int, chain: str) -> list[str]:
        """Return the rules that lead to a chain."""
        return [
            line
            for line in self.lines.get(version, [])
            if line.startswith("-A ") and line.endswith(f" -j {chain}")
        ]

    def run(self, version: int, text: str) -> None:
        """Change something.

        Raises:
            CniError: iptables refused.
        """
        status, _, stderr = spawn_restore(self._programs[version], self._env, text).wait()
        if status:
            said = stderr.decode("utf-8", "replace").strip()
            raise CniError(FIREWALL, f"{PROGRAMS[version]} refused to remove rules: {said}", text)

    def attempt(self, version: int, text: str) -> None:
        """Change something, or leave it as it is if iptables refuses."""
        spawn_restore(self._programs[version], self._env, text).wait()
