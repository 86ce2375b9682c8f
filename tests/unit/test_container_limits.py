"""Limits of resources, as people state them and as containers get them."""

import resource
from typing import Any

import pytest

from shibafu.container import limits
from shibafu.container.errors import ContainerError
from shibafu.container.limits import UNLIMITED, calc_rlimits, parse_limits


def test_limits_as_people_write_them() -> None:
    asked = ["nofile=10", "core=0:-1", "stack=unlimited", "nofile=20:30"]
    assert parse_limits(asked) == {
        "nofile": [20, 30],
        "core": [0, UNLIMITED],
        "stack": [UNLIMITED, UNLIMITED],
    }


@pytest.mark.parametrize(
    "text",
    [
        *("", "nofile", "nofile=", "nofile=1:", "nofile=x", "nofile=-2", "nofile=+1", "nofile=٣", "NOFILE=1"),
        *("files=1", "nofile=1:2:3", f"nofile={1 << 64}", "nofile=2:1", "nofile=-1:1"),
    ],
)
def test_what_is_no_limit_is_refused(text: str) -> None:
    with pytest.raises(ContainerError):
        parse_limits([text])


def calc(asked: dict[str, list[int]]) -> dict[str, Any]:
    """Return limits by their names in the runtime specification."""
    return {row["type"]: (row["soft"], row["hard"]) for row in calc_rlimits(asked)}


def test_defaults_are_as_high_as_rights_permit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda number: (5, 1000 if number != 7 else 500))
    monkeypatch.setattr(limits, "read_capabilities", lambda kind: [])
    assert resource.RLIMIT_NOFILE == 7
    assert calc({"nproc": [1, 2]}) == {"RLIMIT_NOFILE": (500, 500), "RLIMIT_NPROC": (1, 2)}
    monkeypatch.setattr(limits, "read_capabilities", lambda kind: ["CAP_SYS_RESOURCE"])
    found = calc({})
    assert found["RLIMIT_NPROC"] == (1 << 22, 1 << 22)
    assert 500 < found["RLIMIT_NOFILE"][0] <= 1 << 20


def test_no_limit_of_the_caller_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda number: (5, resource.RLIM_INFINITY))
    monkeypatch.setattr(limits, "read_capabilities", lambda kind: [])
    assert calc({})["RLIMIT_NPROC"] == (1 << 22, 1 << 22)
