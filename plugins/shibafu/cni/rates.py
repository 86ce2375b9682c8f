"""How fast, and how much, as people write it: 500K, 10M, 1G, in bits, by powers of 1000."""

_UNITS = {"K": 10**3, "M": 10**6, "G": 10**9}
_MAX_DIGITS = 18
# What may come at once when nobody says: what comes in a twentieth of a second, but so much that packets that
# offloading has made one (64 KiB) are not cut.
_BURSTS_PER_SECOND = 20
_SMALLEST_BURST = 8 * (64 << 10)


def parse_bits(text: str) -> int:
    """Return a number of bits.

    Raises:
        ValueError: it is none.
    """
    unit = _UNITS.get(text[-1:].upper(), 1)
    digits = text[:-1] if unit > 1 else text
    if not (digits.isascii() and digits.isdecimal() and len(digits) <= _MAX_DIGITS):
        raise ValueError(f"{text!r} is not a number of bits such as 500K, 10M or 1G")
    return int(digits) * unit


def calc_burst(rate: int) -> int:
    """Return how many bits may come at once at a rate, in bits a second, where that is not stated."""
    return max(rate // 8 // _BURSTS_PER_SECOND * 8, _SMALLEST_BURST)


def render_rate(bits: int) -> str:
    """Return a number of bits a second in the largest unit in which it is a whole number."""
    for name, unit in reversed(_UNITS.items()):
        if bits and not bits % unit:
            return f"{bits // unit} {name.replace('K', 'k')}bit/s"
    return f"{bits} bit/s"
