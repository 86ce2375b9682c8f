"""The keys of shibafu-bandwidth, and the numbers that the kernel gets."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shibafu.bandwidth.config import BandwidthConfig, Limit
from shibafu.cni.config import Section
from shibafu.cni.errors import INVALID_CONFIG, CniError

rates = st.integers(8, 2**64 - 1)
bursts = st.integers(8, 8 * 0xFFFFFFFE)


def read(keys: Mapping[str, object]) -> list[tuple[int, int] | None]:
    config = BandwidthConfig(Section(dict(keys), "NetConf"))
    return [(limit.rate, limit.burst) if limit else None for limit in (config.ingress, config.egress)]


def test_each_way_has_its_own() -> None:
    keys = {"ingressRate": 8000, "ingressBurst": 800, "egressRate": 16000, "egressBurst": 1600}
    assert read(keys) == [(8000, 800), (16000, 1600)]
    assert read({key.upper(): value for key, value in keys.items()}) == [(8000, 800), (16000, 1600)]


def test_what_is_stated_goes_before_what_is_handed_over() -> None:
    handed_over = {"runtimeConfig": {"bandwidth": {"egressRate": 8000, "egressBurst": 800}}}
    assert read(handed_over) == [None, (8000, 800)]
    assert read(handed_over | {"ingressRate": 0}) == [None, None]
    assert read({"runtimeConfig": {"bandwidth": None}}) == [None, None]


@pytest.mark.parametrize("value", ["8000", 8000.5, True, [], {}, -8, 2**64])
@pytest.mark.parametrize("key", ["ingressRate", "ingressBurst", "egressRate", "egressBurst"])
def test_what_is_no_number_of_bits_is_refused(key: str, value: object) -> None:
    with pytest.raises(CniError) as refusal:
        read({key: value})
    assert refusal.value.code == INVALID_CONFIG
    assert key in refusal.value.msg
    assert refusal.value.details


@given(rates, bursts)
def test_numbers_fit_the_kernel(rate: int, burst: int) -> None:
    bucket = Limit(rate, burst).calc_token_bucket()
    assert bucket.rate == rate // 8
    assert 1 <= bucket.buffer < 1 << 32
    # A queue that holds less than a burst would drop what comes at once.
    assert burst // 8 <= bucket.limit < 1 << 32


@given(st.integers(10**4, 10**11), st.integers(8 << 16, 10**9))
def test_bucket_holds_the_burst(rate: int, burst: int) -> None:
    """In ticks of 64 ns, of whole microseconds, as far as there are so many."""
    bucket = Limit(rate, burst).calc_token_bucket()
    seconds = bucket.buffer * 64e-9
    assert bucket.buffer == (1 << 32) - 1 or seconds * bucket.rate == pytest.approx(
        burst // 8, rel=1e-6, abs=bucket.rate * 2e-6
    )
