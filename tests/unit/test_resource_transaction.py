"""Making resources in order, and taking back what was made when one fails."""

import pytest

from shibafu.cni import errors
from shibafu.cni.errors import CniError
from shibafu.netlink.errors import NetlinkError
from shibafu.netlink.socket import NetlinkSocket
from shibafu.resource.base import ATTACHMENT, HOST, Resource
from shibafu.resource.transaction import Transaction
from shibafu.resource.view import View


class Thing(Resource):
    """A resource that notes what is done to it.

    Args:
        log: where.
        name: what it is called.
        scope: whose it is.
        is_new: whether it was not there.
        failures: what its methods raise.
    """

    def __init__(
        self,
        log: list[str],
        name: str,
        scope: str = ATTACHMENT,
        is_new: bool = True,
        **failures: Exception,
    ) -> None:
        self.log = log
        self.name = name
        self.scope = scope
        self.is_new = is_new
        self.failures = failures

    @property
    def title(self) -> str:
        return f"link {self.name}"

    def note(self, what: str) -> None:
        self.log.append(f"{what} {self.name}")
        if what in self.failures:
            raise self.failures[what]

    def ensure(self, view: View) -> bool:
        self.note("ensure")
        return self.is_new

    def settle(self) -> None:
        self.note("settle")

    def cancel(self) -> None:
        self.note("cancel")

    def remove(self) -> None:
        self.note("remove")


class Slow(Thing):
    def settle_removal(self) -> None:
        self.note("settle the removal of")


class Barrier(Thing):
    is_barrier = True


class Last(Thing):
    is_last = True


@pytest.fixture
def log() -> list[str]:
    return []


def run(*things: Thing, failure: Exception | None = None) -> None:
    """Make things, and fail."""
    with NetlinkSocket() as sock, Transaction(View(sock)) as transaction:
        for thing in things:
            transaction.ensure(thing)
        if failure is not None:
            raise failure


def test_nothing_is_taken_back_after_success(log: list[str]) -> None:
    run(Thing(log, "a"), Thing(log, "b"), Barrier(log, "c"))
    assert log == ["ensure a", "ensure b", "settle a", "settle b", "ensure c"]


def test_the_last_is_removed_first_and_nothing_runs_meanwhile(log: list[str]) -> None:
    with pytest.raises(CniError, match=r"^failed$"):
        run(Thing(log, "a"), Thing(log, "b"), failure=CniError(7, "failed"))
    assert log == ["ensure a", "ensure b", "cancel a", "cancel b", "remove b", "remove a"]


@pytest.mark.parametrize("step", ["ensure", "settle"])
def test_what_fails_may_have_got_half_way(log: list[str], step: str) -> None:
    failing = Thing(log, "b")
    failing.failures[step] = CniError(7, "failed")
    with pytest.raises(CniError):
        run(Thing(log, "a"), failing, Barrier(log, "c"))
    assert log[-2:] == ["remove b", "remove a"]
    assert "ensure c" not in log


def test_what_was_there_before_is_left(log: list[str]) -> None:
    with pytest.raises(CniError):
        run(Thing(log, "a", HOST, is_new=False), Thing(log, "b", HOST), failure=CniError(7, "failed"))
    assert log[-1] == "remove b"
    with pytest.raises(CniError):
        run(Thing(log, "half-way", HOST, is_new=False, ensure=CniError(7, "failed")))
    assert log[-1] == "remove half-way"


@pytest.mark.parametrize("error", [CniError(100, "oops"), OSError("oops"), ValueError("oops")])
def test_an_error_on_the_way_back_stops_nothing_and_records_suffice(log: list[str], error: Exception) -> None:
    with pytest.raises(CniError) as caught:
        run(
            Last(log, "record"),
            Thing(log, "0"),
            Thing(log, "1", remove=error),
            failure=CniError(7, "failed", "why"),
        )
    # By the record, what is left is found.
    assert log[-2:] == ["remove 1", "remove 0"]
    assert (caught.value.msg, caught.value.details) == ("failed", "why; could not remove link 1: oops")


def test_what_the_system_refuses_on_the_way_back_is_told_in_words(log: list[str]) -> None:
    refused = NotADirectoryError(20, "Not a directory", "/dev/null/file")
    with pytest.raises(CniError) as caught:
        run(Thing(log, "1", remove=refused), failure=CniError(7, "failed"))
    assert caught.value.details == "could not remove link 1: not a directory"


def test_details_may_have_been_empty(log: list[str]) -> None:
    with pytest.raises(CniError) as caught:
        run(Thing(log, "0", remove=OSError("oops")), failure=CniError(7, "failed"))
    assert caught.value.details == "could not remove link 0: oops"


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
def test_what_the_system_refuses_becomes_an_error_object(
    log: list[str], error: OSError, code: int, message: str
) -> None:
    with pytest.raises(CniError) as caught:
        run(Thing(log, "0", remove=OSError("oops")), failure=error)
    assert (caught.value.code, caught.value.msg) == (code, message)
    assert caught.value.details.endswith("could not remove link 0: oops")
    assert (code == errors.IO_FAILURE) is caught.value.details.startswith("free space")


def test_a_defect_stays_one(log: list[str]) -> None:
    with pytest.raises(ZeroDivisionError):
        run(Thing(log, "a"), failure=ZeroDivisionError())
    assert log[-1] == "remove a"


def test_what_a_removal_leaves_running_is_completed(log: list[str]) -> None:
    with pytest.raises(CniError):
        run(Thing(log, "a"), Slow(log, "b"), failure=CniError(errors.INTERNAL, "no"))
    assert log[-3:] == ["remove b", "settle the removal of b", "remove a"]
