"""When a router counts as dead, and as alive again."""

import pytest

from shibafu.watch.routers.health import MISSES, PROOFS, RouterHealth, calc_raised


def ask(health: RouterHealth, *answers: bool) -> None:
    """Ask several times; an answer comes before the next question."""
    for is_answered in answers:
        health.note_question()
        if is_answered:
            health.note_answer()


def make_dead() -> RouterHealth:
    return RouterHealth(is_alive=False)


def test_dead_after_three_misses() -> None:
    """Those that have had their time: the last question may still be answered."""
    health = RouterHealth()
    ask(health, *[False] * MISSES)
    assert health.is_alive
    health.note_question()
    assert not health.is_alive


def test_misses_count_in_a_row() -> None:
    health = RouterHealth()
    ask(health, *[False, False, True] * 10)
    assert health.is_alive


def test_alive_after_ten_answers() -> None:
    health = make_dead()
    ask(health, *[True] * (PROOFS - 1))
    assert not health.is_alive
    ask(health, True)
    assert health.is_alive


def test_answers_count_in_a_row() -> None:
    health = make_dead()
    ask(health, *([True] * (PROOFS - 1) + [False]) * 5)
    assert not health.is_alive


def test_second_answer_to_a_question_says_no_more() -> None:
    health = make_dead()
    health.note_question()
    for _ in range(2 * PROOFS):
        health.note_answer()
    assert not health.is_alive


def test_carrier_that_returns_is_not_enough() -> None:
    health = RouterHealth()
    health.note_connection(False)
    assert not health.is_alive
    health.note_connection(True)
    ask(health, *[True] * (PROOFS - 1))
    assert not health.is_alive
    ask(health, True)
    assert health.is_alive


def test_answers_from_before_a_carrier_was_lost_do_not_count() -> None:
    health = make_dead()
    ask(health, *[True] * (PROOFS - 1))
    health.note_connection(False)
    health.note_connection(True)
    ask(health, True)
    assert not health.is_alive


def make(is_alive: bool = True, misses: int = 0, is_connected: bool = True) -> RouterHealth:
    health = RouterHealth(is_alive)
    health.misses, health.is_connected = misses, is_connected
    return health


ALIVE, HESITANT, SILENT, CUT = make(), make(misses=1), make(False, 3), make(False, 0, False)


@pytest.mark.parametrize(
    ("healths", "former", "raised"),
    [
        ((ALIVE, ALIVE), (0, 0), (0, 0)),
        ((SILENT, ALIVE), (0, 0), (1, 0)),
        ((CUT, ALIVE), (0, 0), (1, 0)),
        ((ALIVE, SILENT), (0, 0), (0, 1)),
        # It may have fallen silent at the same moment.
        ((SILENT, HESITANT), (0, 0), (0, 0)),
        ((CUT, HESITANT), (0, 0), (1, 0)),
        ((SILENT, SILENT), (0, 0), (0, 0)),
        ((SILENT, SILENT), (1, 0), (1, 0)),
        ((CUT, CUT), (0, 1), (0, 1)),
        ((ALIVE, ALIVE), (1, 0), (0, 0)),
        ((SILENT, ALIVE), (0, 1), (1, 0)),
        ((SILENT,), (0,), (0,)),
        ((SILENT, CUT, ALIVE), (0, 0, 0), (1, 1, 0)),
    ],
)
def test_which_routes_are_raised(
    healths: tuple[RouterHealth, ...], former: tuple[int, ...], raised: tuple[int, ...]
) -> None:
    assert calc_raised(healths, [bool(one) for one in former]) == [bool(one) for one in raised]
