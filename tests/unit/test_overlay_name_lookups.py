"""Lookups of names that take long: how long others wait for them, and what is said."""

import time
from threading import Event

import pytest

from shibafu.overlay import name_lookups
from shibafu.overlay.name_lookups import NameLookups


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> float:
    monkeypatch.setattr(name_lookups, "PATIENCE", 0.3)
    return 0.3


def test_names_that_resolve() -> None:
    asked: list[str] = []
    lookups = NameLookups(["a", "b", "192.0.2.1", "::1"], asked.append)
    assert [lookups.find_failure(name) for name in ("192.0.2.1", "::1")] == ["", ""]
    assert asked == []
    assert [lookups.find_failure(name) for name in ("a", "a", "b")] == ["", "", ""]
    assert sorted(asked) == ["a", "b"]
    lookups.forget("a")
    assert lookups.find_failure("a") == ""
    assert sorted(asked) == ["a", "a", "b"]


def test_all_names_take_as_long_as_one(patience: float) -> None:
    answered = Event()
    lookups = NameLookups("abc", lambda _: answered.wait(30))
    began = time.monotonic()
    said = [lookups.find_failure(name) for name in "abc"]
    assert patience <= time.monotonic() - began < 2 * patience
    assert said == [f"the name {name} has not been resolved within 0 seconds" for name in "abc"]
    # It goes on, and is believed when it ends.
    answered.set()
    lookups.forget("a")
    deadline = time.monotonic() + 10
    while lookups.find_failure("a") and time.monotonic() < deadline:
        time.sleep(0.01)
    assert lookups.find_failure("a") == ""


def test_a_name_that_is_none_is_looked_up_again() -> None:
    answers = ["Name or service not known", ""]

    def resolve(name: str) -> None:
        answer = answers.pop(0)
        if answer:
            raise OSError(-2, answer)

    lookups = NameLookups(["a"], resolve)
    assert lookups.find_failure("a") == "the name a cannot be resolved: name or service not known"
    assert lookups.find_failure("a") == ""
