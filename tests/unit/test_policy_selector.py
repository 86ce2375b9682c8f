"""Label selectors: what they take, and which of them are the same."""

import pytest

from shibafu.policy.selector import DOES_NOT_EXIST, EXISTS, IN, NOT_IN, Requirement, Selector


@pytest.mark.parametrize(
    ("operator", "values", "absent", "a", "b", "empty"),
    [
        (IN, ["a"], False, True, False, False),
        (IN, ["a", "b"], False, True, True, False),
        (IN, [""], False, False, False, True),
        (NOT_IN, ["a"], True, False, True, True),
        (NOT_IN, ["a", "b"], True, False, False, True),
        (EXISTS, [], False, True, True, True),
        (DOES_NOT_EXIST, [], True, False, False, False),
    ],
)
def test_an_operator(operator: str, values: list[str], absent: bool, a: bool, b: bool, empty: bool) -> None:
    requirement = Requirement("k", operator, values)
    labels: list[dict[str, str]] = [{"x": "a"}, {"k": "a"}, {"k": "b", "x": "a"}, {"k": ""}]
    assert [requirement.matches(one) for one in labels] == [absent, a, b, empty]


def test_conditions_all_have_to_hold() -> None:
    selector = Selector([Requirement("app", IN, ["web"]), Requirement("old", DOES_NOT_EXIST)])
    assert selector.matches({"app": "web"})
    assert not selector.matches({"app": "web", "old": ""})
    assert not selector.matches({})


def test_without_conditions_everything_is_selected() -> None:
    assert Selector().matches({})
    assert Selector().matches({"app": "web"})


def test_order_and_repetition_have_no_meaning() -> None:
    one = Selector([Requirement("a", IN, ["x", "y"]), Requirement("b", EXISTS)])
    other = Selector(
        [Requirement("b", EXISTS), Requirement("a", IN, ["y", "x", "y"]), Requirement("b", EXISTS)]
    )
    assert one == other
    assert hash(one) == hash(other)
    assert one.to_json() == other.to_json()
    assert one != Selector([Requirement("a", IN, ["x"]), Requirement("b", EXISTS)])


def test_a_selector_survives_json() -> None:
    selector = Selector([Requirement("a", NOT_IN, ["x", "y"]), Requirement("b", EXISTS)])
    assert Selector.from_json(selector.to_json()) == selector


def test_a_selector_is_shown_as_kubectl_writes_it() -> None:
    conditions = [
        Requirement("a", IN, ["x"]),
        Requirement("b", NOT_IN, ["x"]),
        Requirement("c", IN, ["x", "y"]),
        Requirement("d", NOT_IN, ["x", "y"]),
        Requirement("e", EXISTS),
        Requirement("f", DOES_NOT_EXIST),
    ]
    assert str(Selector(conditions)) == "a=x,b!=x,c in (x,y),d notin (x,y),e,!f"
    assert str(Selector()) == "everything"
