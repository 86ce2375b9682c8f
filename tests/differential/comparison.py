"""What differs between two suites' outcomes of one case."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from differential.case import ABSENT, Case

THERE = "(there)"
_MAC = re.compile(r"(?:[0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}")
_HOST_LINK = re.compile(r"\b(veth)[0-9a-f]{8,11}\b|\b(bwp)[0-9a-f]{12}\b")
# What belongs to one link, or to one file of the store, and is not there when that is not.
_PART = re.compile(r"(?P<whole>[\w-]+ (?:(?P<namespace>\w+) link (?P<link>\S+)|store \S+)) .+")
_ROUTE = re.compile(r"(?P<when>[\w-]+) (?P<namespace>\w+) IPv\d route .* dev (?P<link>\S+)")


@dataclass(frozen=True)
class Deviation:
    """One fact that differs; a value that is not there is `(absent)`.

    Args:
        field: the fact's name, such as `1-ADD answer.msg`.
        reference: the reference's value, or the documented one.
        ours: our value.
    """

    field: str
    reference: str
    ours: str

    def __str__(self) -> str:
        return f"{self.field}\n    reference: {self.reference}\n    ours:      {self.ours}"


def normalise(case: Case, seen: Mapping[str, str]) -> dict[str, str]:
    """Replace what a suite may choose freely: hardware addresses nobody asked for, and links' names."""
    asked_for = {mac.lower() for mac in _MAC.findall(repr(case))}
    real = {
        (seen[field.removesuffix(" address") + " name"], mac)
        for field, mac in seen.items()
        if field.startswith("after-ADD ") and field.endswith(" address")
    }
    adds = [call.verb == "ADD" for call in case.calls]
    last_add = f"{max((i + 1 for i, is_add in enumerate(adds) if is_add), default=0)}-ADD"
    normal = {}
    for field, value in seen.items():
        normal[field] = _HOST_LINK.sub(lambda found: f"{found[1] or found[2]}*", value)
        if _MAC.fullmatch(value) and value.lower() not in asked_for:
            if " answer." in field and field.partition(" ")[0] != last_add:
                # That of a bridge may have changed since.
                normal[field] = "chosen by the plugin"
            elif " answer." in field:
                name = seen[field.removesuffix(".mac") + ".name"]
                normal[field] = "the link's own" if (name, value) in real else "not the link's own"
            else:
                normal[field] = "chosen by the plugin"
    return normal


def compare(case: Case, reference: Mapping[str, str], ours: Mapping[str, str]) -> list[Deviation]:
    """Return the deviations of our outcome from the reference's, corrected by what is documented.

    A link or a file that only one of them has is one deviation, not one for each of its facts.
    """
    expected = normalise(case, reference) | dict(case.documented)
    actual = normalise(case, ours)
    wholes = {"expected": _calc_wholes(expected), "actual": _calc_wholes(actual)}
    only_one = wholes["expected"] ^ wholes["actual"]
    deviations = [
        Deviation(whole, *((THERE, ABSENT) if whole in wholes["expected"] else (ABSENT, THERE)))
        for whole in only_one
    ]
    for field in expected.keys() | actual.keys():
        pair = (expected.get(field, ABSENT), actual.get(field, ABSENT))
        if pair[0] != pair[1] and not _calc_owners(field) & only_one:
            deviations.append(Deviation(field, *pair))
    return sorted(deviations, key=lambda deviation: deviation.field)


def _calc_wholes(seen: Mapping[str, str]) -> set[str]:
    return {found["whole"] for found in map(_PART.fullmatch, seen) if found is not None}


def _calc_owners(field: str) -> set[str]:
    """Return the link or file that a fact belongs to."""
    part, route = _PART.fullmatch(field), _ROUTE.fullmatch(field)
    if part is not None:
        return {part["whole"]}
    return {f"{route['when']} {route['namespace']} link {route['link']}"} if route is not None else set()
