"""What a subcommand is, and what it gets to work with."""

import re
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from shibafu.cli.output import Output
from shibafu.lean.ip import Address, parse_address
from shibafu.networks.errors import FAILED
from shibafu.networks.machine import Directories

_T = TypeVar("_T")
_DAY = 86400
_YEAR = 365 * _DAY
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": _DAY}
# ETH_MIN_MTU, ETH_MAX_MTU (linux/if_ether.h)
_MIN_MTU, _MAX_MTU = 68, 65535


@dataclass(frozen=True)
class Context(Directories):
    """Where things are on this machine, and where to print.

    Args:
        out: standard output.
    """

    out: Output


def no_arguments(_parser: ArgumentParser) -> None:
    """Add nothing, for subcommands without arguments of their own."""


@dataclass(frozen=True)
class Subcommand:
    """One word of the command line.

    Args:
        name: the word.
        summary: one line for the list of subcommands.
        description: what `--help` says before the options.
        examples: command lines for `--help`, each with `#` and what it is for.
        run: does it; returns the exit code.
        add_arguments: adds what is its own to its parser.
        failure: the lowest exit code of a failure, where lower ones are those of a program that it runs.
    """

    name: str
    summary: str
    description: str
    examples: tuple[str, ...]
    run: Callable[[Context, Namespace], int]
    add_arguments: Callable[[ArgumentParser], None] = no_arguments
    failure: int = FAILED


def convert(parse: Callable[[str], _T]) -> Callable[[str], _T]:
    """Return what argparse calls for an argument, whose own message for a ValueError says less."""

    def call(text: str) -> _T:
        try:
            return parse(text)
        except ValueError as error:
            raise ArgumentTypeError(str(error)) from None

    return call


def parse_time(text: str) -> float:
    """Parse an option that is a number of seconds."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1
    if not 0 <= seconds <= _DAY:  # nor is it NaN
        raise ArgumentTypeError(f"{text} is not a number of seconds from 0 to {_DAY}")
    return seconds


def parse_pause(text: str) -> float:
    """Parse an option that is a number of seconds, and not none."""
    seconds = parse_time(text)
    if not seconds:
        raise ArgumentTypeError("the interval must be longer than zero")
    return seconds


def parse_duration(text: str) -> int:
    """Parse an option that is a length of time, such as 90s, 30m, 1h30m or 2d; return whole seconds."""
    parts = re.findall(r"([0-9]{1,8})([smhd])", text, re.ASCII)
    seconds = sum(int(number) * _UNITS[unit] for number, unit in parts)
    if "".join(number + unit for number, unit in parts) != text or not 0 < seconds <= _YEAR:
        raise ArgumentTypeError(f"{text} is not a time from 1s to 365d, such as 90s, 30m, 1h30m or 2d")
    return seconds


def parse_mtu(text: str) -> int:
    """Parse an option that is the size of a link's largest packet; 0 leaves it to the kernel."""
    mtu = int(text) if text.isdecimal() and len(text) < 10 else -1
    if mtu and not _MIN_MTU <= mtu <= _MAX_MTU:
        raise ArgumentTypeError(f"{text} is not a number from {_MIN_MTU} to {_MAX_MTU}")
    return mtu


def parse_address_argument(text: str) -> Address:
    """Parse an argument that is an address."""
    try:
        return parse_address(text)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from None
