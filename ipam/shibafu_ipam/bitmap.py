"""Which addresses are taken: a bitmap in pages, so that a free one is found without reading leases.

A page is a file of 4096 bytes, one bit for each of 32768 addresses, aligned absolutely: pages do not
depend on how ranges are configured. A page that does not exist is all free, so the cost of an IPv6 /64
is that of its leases. Python's integers search a page in a few microseconds, however full it is.
"""

import os

from shibafu.lean.files import open_file, write_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from shibafu_ipam.rebuild import MemoryPages

ADDRESS_BITS = 15
PAGE_ADDRESSES = 1 << ADDRESS_BITS
PAGE_BYTES = PAGE_ADDRESSES // 8
_FULL = b"\xff" * PAGE_BYTES


def find_free_bit(page: bytes, first: int, last: int) -> int | None:
    """Return the lowest bit that is 0 in a page, from `first` to `last`; bytes that lack are 0.

    Bit n is in byte n // 8, the lowest bit first.
    """
    if page == _FULL:
        return None
    bits = int.from_bytes(page, "little") >> first
    # Adding 1 carries through the ones at the bottom and sets the lowest zero: 0111 + 1 = 1000.
    found = first + (~bits & (bits + 1)).bit_length() - 1
    return found if found <= last else None


def find_free(read_page: "Callable[[int, int], bytes]", version: int, first: int, last: int) -> int | None:
    """Return the lowest free address from `first` to `last`, reading page by page.

    Args:
        read_page: returns the page of (IP version, number); empty when there is none.
        version: 4 or 6.
        first: an address as an integer, like the result.
        last: likewise, included.
    """
    for number in range(first >> ADDRESS_BITS, (last >> ADDRESS_BITS) + 1):
        base = number << ADDRESS_BITS
        bit = find_free_bit(
            read_page(version, number), max(first - base, 0), min(last - base, PAGE_ADDRESSES - 1)
        )
        if bit is not None:
            return base + bit
    return None


class FilePages:
    """Pages in a directory, in files called `<4 or 6>-<number of the page in hexadecimal>`."""

    __slots__ = ("directory",)

    def __init__(self, directory: str) -> None:
        self.directory = directory

    def find_free(self, version: int, first: int, last: int) -> int | None:
        """Return the lowest free address from `first` to `last`."""
        return find_free(self._read, version, first, last)

    def set_taken(self, version: int, value: int, taken: bool) -> None:
        """Mark an address (as an integer) as taken or as free; one byte is written."""
        descriptor = open_file(self._path(version, value >> ADDRESS_BITS), os.O_RDWR | os.O_CREAT)
        try:
            bit = value % PAGE_ADDRESSES
            byte = (os.pread(descriptor, 1, bit >> 3) or b"\0")[0]
            mask = 1 << (bit & 7)
            os.pwrite(descriptor, bytes((byte | mask if taken else byte & ~mask,)), bit >> 3)
        finally:
            os.close(descriptor)

    def replace_all(self, memory: "MemoryPages") -> None:
        """Make the files what the pages in memory are."""
        paths = {self._path(*key): page for key, page in memory.pages.items()}
        for name in os.listdir(self.directory):
            if f"{self.directory}/{name}" not in paths:
                os.unlink(f"{self.directory}/{name}")
        for path, page in paths.items():
            write_file(path, bytes(page))

    def _path(self, version: int, number: int) -> str:
        return f"{self.directory}/{version}-{number:x}"

    def _read(self, version: int, number: int) -> bytes:
        try:
            descriptor = open_file(self._path(version, number), os.O_RDONLY)
        except FileNotFoundError:
            return b""
        try:
            return os.pread(descriptor, PAGE_BYTES, 0)
        finally:
            os.close(descriptor)
