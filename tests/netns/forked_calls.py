"""Calls that are made in children of the laboratory's process, without the start of an interpreter."""

import gc
import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from json import dumps, loads
from pkgutil import walk_packages
from traceback import format_exc
from typing import Any

import shibafu.bridge
import shibafu.netfilter
import shibafu_ipam
from differential.laboratory import (
    enter_machine,
)

_FAILED = 255
# What calls import, which then need not.
_PACKAGES = (shibafu.bridge, shibafu.netfilter, shibafu_ipam)
_COMMAND = (
    "cli.parser",
    "networks.attachments",
    "networks.resource_states",
    "networks.diagram",
    "networks.repair",
    "networks.rules",
)


@dataclass(frozen=True)
class Told:
    """What a call answered: its exit status and what it printed."""

    status: int
    text: str

    @property
    def json(self) -> Any:
        """The answer; an empty object for none."""
        return loads(self.text or "{}")

    @property
    def error(self) -> str:
        """Why it was refused; empty when it was not."""
        return str(self.json["msg"]) if self.status else ""

    @property
    def details(self) -> str:
        """What else is said of the refusal."""
        return str(self.json.get("details", "")) if self.status else ""


def enter_laboratory(plugins: dict[str, str]) -> None:
    """Make this process the laboratory, with all that calls import, which then need not.

    Args:
        plugins: the plugins' names and their executables.
    """
    enter_machine(plugins)
    for package in _PACKAGES:
        for module in walk_packages(package.__path__, f"{package.__name__}."):
            import_module(module.name)
    for name in _COMMAND:
        import_module(f"shibafu.{name}")
    # Children do not look for garbage in what they share with this process, which would copy it.
    gc.freeze()


def run_forked(do: Callable[[], tuple[int, str]]) -> Told:
    """Do something in a child, which keeps nothing open or locked: as in a process of its own."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        answer = _FAILED, ""
        try:
            answer = do()
        except BaseException:  # a child must not return into its parent's work
            answer = _FAILED, format_exc()
        finally:
            os.write(writer, dumps(answer).encode())
            os._exit(0)
    os.close(writer)
    with open(reader, "rb") as pipe:
        told = Told(*loads(pipe.read()))
    os.waitpid(child, 0)
    if told.status == _FAILED:
        raise AssertionError(told.text)
    return told
