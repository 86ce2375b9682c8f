"""Undoing what a failed call did."""

from collections.abc import Callable

import pytest

from shibafu.cni import errors
from shibafu.cni.errors import CniError
from shibafu.netlink.errors import NetlinkError
from shibafu.resource.undo import Undo


def fail(failure: Exception, *steps: Callable[[], object]) -> None:
    """Push steps that undo link 0, 1, ... and fail."""
    with Undo() as undo:
        for number, step in enumerate(steps):
            undo.push(f"link {number}", step)
        raise failure


def failing(error: Exception) -> Callable[[], None]:
    def step() -> None:
        raise error

    return step


def test_nothing_is_undone_after_success() -> None:
    done: list[str] = []
    with Undo() as undo:
        undo.push("a", lambda: done.append("a"))
    assert done == []


def test_the_last_is_undone_first() -> None:
    done: list[str] = []
    with pytest.raises(CniError, match=r"^failed$"):
        fail(CniError(7, "failed"), lambda: done.append("a"), lambda: done.append("b"))
    assert done == ["b", "a"]


@pytest.mark.parametrize("error", [CniError(100, "oops"), OSError("oops"), ValueError("oops")])
def test_an_error_on_the_way_back_stops_nothing_and_is_told(error: Exception) -> None:
    done: list[str] = []
    with pytest.raises(CniError) as caught:
        fail(CniError(7, "failed", "why"), lambda: done.append("a"), failing(error))
    assert done == ["a"]
    assert (caught.value.msg, caught.value.details) == ("failed", "why; link 1 was left: oops")


def test_details_may_have_been_empty() -> None:
    with pytest.raises(CniError) as caught:
        fail(CniError(7, "failed"), failing(OSError("oops")))
    assert caught.value.details == "link 0 was left: oops"


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (
            NetlinkError(1, "", "cannot set a up"),
            errors.NETWORK_SETUP,
            "cannot set a up: operation not permitted",
        ),
        (
            OSError(28, "No space left on device", "/run/x"),
            errors.IO_FAILURE,
            "cannot attach the container: /run/x: no space left on device",
        ),
    ],
)
def test_what_the_system_refuses_becomes_an_error_object(error: OSError, code: int, message: str) -> None:
    with pytest.raises(CniError) as caught:
        fail(error, failing(OSError("oops")))
    assert (caught.value.code, caught.value.msg) == (code, message)
    assert caught.value.details.endswith("link 0 was left: oops")
    assert (code == errors.IO_FAILURE) is caught.value.details.startswith("free space")


def test_a_defect_stays_one() -> None:
    done: list[str] = []
    with pytest.raises(ZeroDivisionError):
        fail(ZeroDivisionError(), lambda: done.append("a"))
    assert done == ["a"]
