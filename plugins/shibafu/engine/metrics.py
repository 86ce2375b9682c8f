"""What the engine did: calls by program, verb and outcome, how long they took, and why others went cold."""

from shibafu.lean.files import publish_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# Upper bounds in seconds; what took longer is in the last one, which Prometheus calls +Inf.
BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 10.0)
OUTCOME_SERVED, OUTCOME_FAILED, OUTCOME_LOST = "served", "failed", "lost"


class Calls:
    """Calls of one program, verb and outcome.

    Attributes:
        count: how many.
        seconds: what they took in all.
        buckets: how many took up to each of `BOUNDS`, and longer, each counted once.
    """

    __slots__ = ("buckets", "count", "seconds")

    def __init__(self) -> None:
        self.count = 0
        self.seconds = 0.0
        self.buckets = [0] * (len(BOUNDS) + 1)

    def add(self, seconds: float) -> None:
        """Count one."""
        self.count += 1
        self.seconds += seconds
        self.buckets[sum(seconds > bound for bound in BOUNDS)] += 1


class Metrics:
    """All counters. They stay few, like programs, verbs, outcomes and reasons."""

    __slots__ = ("_calls", "_cold")

    def __init__(self) -> None:
        self._calls: dict[tuple[str, str, str], Calls] = {}
        self._cold: dict[str, int] = {}

    def count_call(self, program: str, verb: str, outcome: str, seconds: float) -> None:
        """Count a call that was accepted.

        Args:
            program: the executable.
            verb: CNI_COMMAND, or empty.
            outcome: OUTCOME_SERVED, OUTCOME_FAILED (its exit status was not 0), or OUTCOME_LOST (its process
                was killed).
            seconds: from its acceptance to its end.
        """
        self._calls.setdefault((program, verb, outcome), Calls()).add(seconds)

    def count_cold(self, reason: str) -> None:
        """Count a call that was refused."""
        self._cold[reason] = self._cold.get(reason, 0) + 1

    def to_json(self) -> dict[str, object]:
        """Return everything, for `shibafu engine status`."""
        calls = [
            {
                "program": program,
                "verb": verb,
                "outcome": outcome,
                "count": calls.count,
                "seconds": round(calls.seconds, 6),
                "buckets": calls.buckets,
            }
            for (program, verb, outcome), calls in sorted(self._calls.items())
        ]
        cold = [{"reason": reason, "count": count} for reason, count in sorted(self._cold.items())]
        return {"calls": calls, "cold": cold}


def render_metrics(status: "Mapping[str, object]") -> str:
    """Return the engine's status as text for Prometheus.

    Args:
        status: see `Parent.describe`; where there is no engine, `running` is false and nothing else matters.
    """
    return "\n".join(_render_lines(status)) + "\n"


def write_metrics(path: str, status: "Mapping[str, object]") -> None:
    """Write the engine's status as text for Prometheus, which reads the old file or the new one.

    Args:
        path: the file, which everybody may read.
        status: see `render_metrics`.

    Raises:
        OSError: it cannot be written, or is something else than a file.
    """
    publish_file(path, render_metrics(status).encode())


def _render_lines(status: "Mapping[str, object]") -> "Iterator[str]":
    is_up = status["running"] and not status["ending"]
    yield "# HELP shibafu_engine_up Whether the engine accepts calls."
    yield "# TYPE shibafu_engine_up gauge"
    yield f"shibafu_engine_up {int(bool(is_up))}"
    if not status["running"]:
        return
    calls = status["calls"]
    yield "# HELP shibafu_engine_call_seconds How long calls took that the engine served."
    yield "# TYPE shibafu_engine_call_seconds histogram"
    for one in calls:  # type: ignore[attr-defined]  # a list of objects
        labels = f'program="{one["program"]}",verb="{one["verb"]}",outcome="{one["outcome"]}"'
        below = 0
        for bound, count in zip((*BOUNDS, "+Inf"), one["buckets"], strict=True):
            below += count
            yield f'shibafu_engine_call_seconds_bucket{{{labels},le="{bound}"}} {below}'
        yield f"shibafu_engine_call_seconds_sum{{{labels}}} {one['seconds']}"
        yield f"shibafu_engine_call_seconds_count{{{labels}}} {one['count']}"
    yield "# HELP shibafu_engine_cold_calls_total Calls that the engine refused, so that they went cold."
    yield "# TYPE shibafu_engine_cold_calls_total counter"
    for one in status["cold"]:  # type: ignore[attr-defined]  # likewise
        yield f'shibafu_engine_cold_calls_total{{reason="{one["reason"]}"}} {one["count"]}'
    yield "# HELP shibafu_engine_start_time_seconds When the engine started, in seconds since 1970."
    yield "# TYPE shibafu_engine_start_time_seconds gauge"
    yield f"shibafu_engine_start_time_seconds {status['started']}"
    yield "# HELP shibafu_engine_memory_bytes Memory of the engine, what is shared counted once."
    yield "# TYPE shibafu_engine_memory_bytes gauge"
    yield f"shibafu_engine_memory_bytes {status['memory']}"
