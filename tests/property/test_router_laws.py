"""Whatever routers do: what is never to happen to the routes to them."""

from hypothesis import given
from hypothesis import strategies as st

from shibafu.watch.routers.health import MISSES, PROOFS, RouterHealth, calc_raised

# What a router does between two questions: it is cut off, says nothing, or answers.
CUT, SILENT, ANSWER = "cut", "silent", "answer"
_BEHAVIOUR = st.sampled_from([CUT, SILENT, ANSWER])


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[str, ...]]:
    """Return what each of some routers does, round by round; mostly the same for some time."""
    count = draw(st.integers(1, 3))
    spans = draw(
        st.lists(st.tuples(st.tuples(*[_BEHAVIOUR] * count), st.integers(1, 2 * PROOFS)), max_size=12)
    )
    return [behaviour for behaviour, rounds in spans for _ in range(rounds)]


class Replay:
    """Routers that do what a history says."""

    def __init__(self, count: int) -> None:
        self.healths = [RouterHealth() for _ in range(count)]
        self.raised = [False] * count

    def play(self, round_: tuple[str, ...]) -> None:
        """Ask, have a round happen, and decide."""
        for health, behaviour in zip(self.healths, round_, strict=True):
            health.note_connection(behaviour != CUT)
            health.note_question()
            if behaviour == ANSWER:
                health.note_answer()
        self.raised = calc_raised(self.healths, self.raised)

    @property
    def active(self) -> int:
        """The one that packets are sent to; the first is preferred."""
        return min(range(len(self.raised)), key=lambda number: (self.raised[number], number))


@given(histories())
def test_laws(history: list[tuple[str, ...]]) -> None:
    replay = Replay(len(history[0]) if history else 1)
    steady: list[int] = [0] * len(replay.healths)
    former_round: tuple[str, ...] = ()
    for round_ in history:
        former, active = list(replay.raised), replay.active
        replay.play(round_)
        steady = [
            count + 1 if former_round and former_round[number] == round_[number] else 1
            for number, count in enumerate(steady)
        ]
        former_round = round_
        # One that has been found to be alive is never passed over.
        assert not any(
            is_raised and health.is_alive
            for is_raised, health in zip(replay.raised, replay.healths, strict=True)
        )
        # There is always one that is preferred to the raised ones.
        assert not all(replay.raised)
        # While nobody answers, nothing changes.
        if not any(health.is_alive for health in replay.healths):
            assert replay.raised == former
        # What is left has died, or the one that is entered is preferred to it.
        if replay.active != active:
            assert not replay.healths[active].is_alive or replay.active < active
            assert replay.healths[replay.active].is_alive
        # What answers for long enough is used; what is silent or cut off is not used beside it.
        for number, count in enumerate(steady):
            if round_[number] == ANSWER and count >= PROOFS:
                assert not replay.raised[number]
                assert all(
                    replay.raised[other]
                    for other, others_count in enumerate(steady)
                    if round_[other] == CUT or (round_[other] == SILENT and others_count > MISSES)
                )


@given(st.lists(st.booleans(), min_size=1, max_size=200))
def test_no_flapping(answers: list[bool]) -> None:
    """A router that answers now and then comes back at most once in ten questions."""
    replay = Replay(2)
    changes = 0
    for is_answered in answers:
        former = replay.active
        replay.play((ANSWER if is_answered else SILENT, ANSWER))
        changes += replay.active != former
    assert changes <= 1 + 2 * len(answers) // (PROOFS + MISSES)
