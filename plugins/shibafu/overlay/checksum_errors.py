"""How many packets with wrong checksums have arrived: InCsumErrors of /proc/net/snmp and snmp6."""

from shibafu.lean.files import read_file

_LARGEST = 1 << 16


def count_checksum_errors() -> int:
    """Return how many packets of TCP, UDP and ICMP there were, in the namespace that the process is in.

    Raises:
        OSError: the kernel does not say.
    """
    return _sum_table(_read("/proc/net/snmp")) + _sum_list(_read("/proc/net/snmp6"))


def _sum_table(text: str) -> int:
    """Add up what has a line of names for each line of numbers."""
    lines = [line.split() for line in text.splitlines()]
    return sum(
        int(number)
        for names, numbers in zip(lines[::2], lines[1::2], strict=True)
        for name, number in zip(names, numbers, strict=True)
        if name == "InCsumErrors"
    )


def _sum_list(text: str) -> int:
    """Add up what has a name and a number on each line."""
    pairs = (line.split() for line in text.splitlines())
    return sum(int(number) for name, number in pairs if name.endswith("InCsumErrors"))


def _read(path: str) -> str:
    # There is none of IPv6 where that is switched off.
    return (read_file(path, _LARGEST) or b"").decode("ascii")
