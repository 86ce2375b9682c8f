"""How often the watcher heals the same thing."""

from shibafu.watch.backoff import NEVER, Backoff

KEY = ("blue", "bridge br-blue is missing")
OTHER = ("blue", "forwarding of IPv4 is turned off on the host")


def heal_when_due(backoff: Backoff, now: float) -> float:
    """Heal as soon as that is allowed; return when."""
    wait = backoff.calc_wait(KEY, now)
    assert wait != NEVER
    now += wait
    assert backoff.calc_wait(KEY, now) == 0
    backoff.note(KEY, now)
    return now


def test_three_heals_are_at_once_and_further_ones_after_longer_and_longer() -> None:
    """Whoever takes something away does so at once, each time."""
    backoff, now, times = Backoff(), 1000.0, []
    for _ in range(9):
        now = heal_when_due(backoff, now)
        times.append(now - 1000)
    assert times == [0, 0, 0, 1, 3, 7, 15, 31, 63]


def test_the_eleventh_within_ten_minutes_is_contested_until_the_network_is_forgotten() -> None:
    backoff, now = Backoff(), 1000.0
    for _ in range(10):
        now = heal_when_due(backoff, now)
    assert backoff.calc_wait(KEY, now) == NEVER
    assert backoff.calc_wait(KEY, now + 3600) == NEVER
    assert backoff.list_contested() == [KEY]
    backoff.forget("green")
    assert backoff.calc_wait(KEY, now) == NEVER
    backoff.forget("blue")
    assert backoff.calc_wait(KEY, now) == 0
    assert backoff.list_contested() == []


def test_what_happens_now_and_then_is_always_healed_at_once() -> None:
    backoff = Backoff()
    for number in range(100):
        assert backoff.calc_wait(KEY, number * 61.0) == 0
        backoff.note(KEY, number * 61.0)


def test_each_fault_has_a_count_of_its_own() -> None:
    backoff = Backoff()
    for _ in range(10):
        backoff.note(KEY, 1000.0)
    assert backoff.calc_wait(KEY, 1000.0) == NEVER
    assert backoff.calc_wait(OTHER, 1000.0) == 0
