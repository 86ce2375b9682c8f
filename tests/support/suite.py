"""The plugins as a runtime finds them: executables in a directory of CNI_PATH."""

import sys
from pathlib import Path

import shibafu
import shibafu_ipam
from shibafu.engine.programs import REPLACED, SERVED
from support.warm_plugins import WarmPlugins, warm_plugins

# The interpreter and the options that the built executables have: isolated, and without `site`.
_LAUNCHER = """#!/usr/bin/python3 -IS
import sys
sys.path[:0] = [{plugins!r}, {ipam!r}]
from {module}.__main__ import main
main()
"""
# All but the hook, which is not a plugin.
_MODULES = {name: main.removesuffix(".__main__") for name, main in SERVED.items() if name != "shibafu-hook"}


class Suite:
    """Installed plugins.

    Args:
        directory: what CNI_PATH holds.
        command: how the command `shibafu` is called.
        is_built: whether they are executables that were built, not sources.

    Attributes:
        has_engine: whether a resident engine does their calls, in processes other than the started ones.
        warm: what does calls of this tree's sources in less time; None of others.
    """

    def __init__(self, directory: Path, command: list[str], is_built: bool) -> None:
        self.directory = directory
        self.command = command
        self.is_built = is_built
        self.has_engine = False
        self.warm: WarmPlugins | None = None
        self.bridge = directory / "bridge"

    @classmethod
    def of_sources(cls, directory: Path) -> "Suite":
        """Return launchers of this tree's sources."""
        roots = [Path(package.__path__[0]).parent for package in (shibafu, shibafu_ipam)]
        made = cls.of_roots(directory, *roots)
        made.warm = warm_plugins(*roots)
        return made

    @classmethod
    def of_roots(cls, directory: Path, plugins: Path, ipam: Path) -> "Suite":
        """Return launchers of sources, which may be an earlier release's."""
        roots = {"plugins": str(plugins), "ipam": str(ipam)}
        for name, module in _MODULES.items():
            launcher = directory / name
            launcher.write_text(_LAUNCHER.format(module=module, **roots))
            launcher.chmod(0o755)
        return cls._named(directory, directory, [sys.executable, "-m", "shibafu.cli"], is_built=False)

    @classmethod
    def of_executables(cls, directory: Path, built: Path) -> "Suite":
        """Return links to executables that were built."""
        for name in _MODULES:
            (directory / name).symlink_to(built.resolve() / name)
        return cls._named(directory, built.resolve(), [str(built.resolve() / "shibafu")], is_built=True)

    def find_module(self, plugin: Path) -> str | None:
        """Return the module that an executable of the directory starts; None for others."""
        is_own = plugin.parent == self.directory
        return SERVED.get(plugin.resolve().name) if is_own else None

    @classmethod
    def _named(cls, directory: Path, programs: Path, command: list[str], is_built: bool) -> "Suite":
        # A drop-in replacement answers to the names of what it replaces.
        for program, name in REPLACED.items():
            (directory / name).symlink_to(programs / program)
        return cls(directory, command, is_built)
