"""The keys of a configuration: how fast, in bits a second, and how much at once, in bits."""

from shibafu.cni.config import Section, fold_keys
from shibafu.cni.errors import INVALID_CONFIG, CniError
from shibafu.cni.rates import calc_burst
from shibafu.netlink.traffic_control import TICKS_PER_SECOND, TokenBucket

_MAX_BITS = 64
_MAX_U32 = 0xFFFFFFFF
# How long a packet may wait, as the reference has it.
_LATENCY = 0.025


class Limit:
    """How fast a container may receive, or send.

    Args:
        rate: in bits a second, at least 8.
        burst: what may come at once, in bits, at least 8.
    """

    __slots__ = ("burst", "rate")

    def __init__(self, rate: int, burst: int) -> None:
        self.rate = rate
        self.burst = burst

    def calc_token_bucket(self) -> TokenBucket:
        """Return the parameters with which the kernel holds it: those that the reference gives it, too."""
        rate, burst = self.rate // 8, self.burst // 8
        # Of whole microseconds, as the reference counts; what takes less than one, it could not express.
        microseconds = burst * 1_000_000 // rate
        buffer = microseconds * TICKS_PER_SECOND // 1_000_000 or max(burst * TICKS_PER_SECOND // rate, 1)
        limit = int(rate * _LATENCY) + burst
        return TokenBucket(rate, min(limit, _MAX_U32), min(buffer, _MAX_U32))


class BandwidthConfig:
    """What a configuration asks for.

    Args:
        config: the network configuration; what it states itself goes before `runtimeConfig.bandwidth`.

    Attributes:
        ingress: the limit on what the container receives; None for none.
        egress: the limit on what it sends; likewise.

    Raises:
        CniError: INVALID_CONFIG.
    """

    __slots__ = ("egress", "ingress")

    def __init__(self, config: Section) -> None:
        stated = _read(config) or _read(config.section("runtimeConfig").section("bandwidth"))
        self.ingress, self.egress = (
            build_limit(way, stated.get(f"{way}Rate", 0), stated.get(f"{way}Burst", 0))
            for way in ("ingress", "egress")
        )

    @property
    def is_empty(self) -> bool:
        """Whether nothing is limited."""
        return self.ingress is None and self.egress is None


def _read(section: Section) -> dict[str, int]:
    """Return the keys that are there, zero or not."""
    return {key: bits for key, bits in section.read(_KEYS) if isinstance(bits, int)}


def build_limit(way: str, rate: int, burst: int) -> Limit | None:
    """Return a limit; None where there is none.

    Args:
        way: what it is on, `ingress` or `egress`.
        rate: in bits a second; 0 for no limit.
        burst: in bits; 0 to have one chosen.

    Raises:
        CniError: INVALID_CONFIG.
    """
    if not rate and not burst:
        return None
    if not rate:
        raise CniError(
            INVALID_CONFIG,
            "if burst is set, rate must also be set",
            f'add "{way}Rate", in bit/s, or remove "{way}Burst"',
        )
    if burst // 8 >= _MAX_U32:
        raise CniError(
            INVALID_CONFIG,
            "burst cannot be more than 4GB",
            f'make "{way}Burst", in bits, less than {8 * _MAX_U32}',
        )
    burst = burst or calc_burst(rate)
    for key, bits in ((f"{way}Rate", rate), (f"{way}Burst", burst)):
        if bits < 8:
            raise CniError(
                INVALID_CONFIG,
                f'"{key}" is less than a byte: {bits}',
                f'"{key}" is in bits; make it 8 or more',
            )
    return Limit(rate, min(burst, 8 * _MAX_U32 - 8))


def _read_bits(section: Section, key: str) -> int:
    return section.unsigned(key, _MAX_BITS) or 0


_KEYS = fold_keys(
    ("ingressRate", "ingressRate", _read_bits),
    ("ingressBurst", "ingressBurst", _read_bits),
    ("egressRate", "egressRate", _read_bits),
    ("egressBurst", "egressBurst", _read_bits),
)
