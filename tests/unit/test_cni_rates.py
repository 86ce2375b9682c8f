"""Rates as people write them, and as they are told."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shibafu.cni.rates import calc_burst, parse_bits, render_rate


@pytest.mark.parametrize(
    ("text", "bits"),
    [("0", 0), ("8", 8), ("500K", 500_000), ("10M", 10_000_000), ("1g", 10**9), ("007k", 7000)],
)
def test_bits(text: str, bits: int) -> None:
    assert parse_bits(text) == bits


@pytest.mark.parametrize("text", ["", "M", "-1", "1.5M", "10MB", "1 M", "٣", "²", "1e6", "9" * 19])
def test_what_is_no_number_of_bits(text: str) -> None:
    with pytest.raises(ValueError, match="is not a number of bits"):
        parse_bits(text)


@given(st.text(st.characters(), max_size=12))
def test_any_text_is_a_number_or_refused(text: str) -> None:
    with suppress(ValueError):
        assert parse_bits(text) >= 0


@pytest.mark.parametrize(
    ("bits", "told"),
    [
        (10_000_000, "10 Mbit/s"),
        (1_500_000, "1500 kbit/s"),
        (3 * 10**9, "3 Gbit/s"),
        (1_234_567, "1234567 bit/s"),
        (0, "0 bit/s"),
    ],
)
def test_rate_is_told_in_its_largest_unit(bits: int, told: str) -> None:
    assert render_rate(bits) == told


@given(st.integers(0, 2**64))
def test_burst_holds_the_largest_packet(rate: int) -> None:
    assert calc_burst(rate) >= 8 * 65536
    assert calc_burst(rate) % 8 == 0
    assert 20 * calc_burst(rate) <= max(rate, 20 * 8 * 65536)
