"""What the engine counts, and how Prometheus reads it."""

from shibafu.engine.metrics import BOUNDS, OUTCOME_FAILED, OUTCOME_SERVED, Metrics, render_metrics


def calc_status(metrics: Metrics) -> dict[str, object]:
    return {"running": True, "ending": False, "started": 1.5, "memory": 4096, **metrics.to_json()}


def test_buckets() -> None:
    metrics = Metrics()
    for seconds in (0.0001, 0.001, 0.0011, 10.0, 11.0):
        metrics.count_call("shibafu-bridge", "ADD", OUTCOME_SERVED, seconds)
    (calls,) = metrics.to_json()["calls"]  # type: ignore[misc]  # one object
    assert calls["count"] == 5  # type: ignore[has-type]
    assert calls["buckets"] == [2, 1, *[0] * (len(BOUNDS) - 3), 1, 1]  # type: ignore[has-type]


def test_metrics() -> None:
    metrics = Metrics()
    metrics.count_call("shibafu-bridge", "ADD", OUTCOME_SERVED, 0.002)
    metrics.count_call("shibafu-bridge", "ADD", OUTCOME_SERVED, 0.2)
    metrics.count_call("shibafu-hook", "", OUTCOME_FAILED, 60.0)
    metrics.count_cold("another build")
    metrics.count_cold("another build")
    lines = render_metrics(calc_status(metrics)).splitlines()
    of_add = 'program="shibafu-bridge",verb="ADD",outcome="served"'
    assert f'shibafu_engine_call_seconds_bucket{{{of_add},le="0.001"}} 0' in lines
    assert f'shibafu_engine_call_seconds_bucket{{{of_add},le="0.0025"}} 1' in lines
    assert f'shibafu_engine_call_seconds_bucket{{{of_add},le="0.25"}} 2' in lines
    assert f'shibafu_engine_call_seconds_bucket{{{of_add},le="+Inf"}} 2' in lines
    assert f"shibafu_engine_call_seconds_count{{{of_add}}} 2" in lines
    of_hook = 'program="shibafu-hook",verb="",outcome="failed"'
    assert f'shibafu_engine_call_seconds_bucket{{{of_hook},le="10.0"}} 0' in lines
    assert f'shibafu_engine_call_seconds_bucket{{{of_hook},le="+Inf"}} 1' in lines
    assert 'shibafu_engine_cold_calls_total{reason="another build"} 2' in lines
    assert "shibafu_engine_memory_bytes 4096" in lines
    assert all(line.startswith("#") or len(line.rsplit(" ", 1)) == 2 for line in lines)
    assert "shibafu_engine_up 1" in lines


def test_metrics_of_an_engine_that_takes_no_calls() -> None:
    ending = calc_status(Metrics()) | {"ending": True}
    assert "shibafu_engine_up 0" in render_metrics(ending).splitlines()
    absent = render_metrics({"running": False, "home": "/usr/lib/shibafu"})
    assert [line for line in absent.splitlines() if line[0] != "#"] == ["shibafu_engine_up 0"]
