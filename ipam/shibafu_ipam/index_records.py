"""Who has what: the index's records of attachments.

Records are lines in 256 files, by a digest of the container's ID: a file for each would cost the file
system a new inode in every ADD, and taking over a large store seconds. A line is

    <container ID> TAB <interface> TAB <addresses, by spaces> TAB <namespace> TAB <digest>

where the namespace is its path, and before it, with a space between, from where it was seen and which one
it was (see `netns`). Earlier versions wrote the path alone; they take one with more for none that vanishes.

Like all of the index, a record is verified against the leases before anything is done with it. For the
namespace's path there is nothing to verify it against, and it is read even after a killed call, so the
digest tells a line that was half written: a wrong path would make a living container's lease look ended.
CHECK reads without the store's lock; it ignores lines that another call is writing at that moment.

Nor is there anything to verify the absence of a record against, but all leases. So files are signed by a
time of last change that nothing else gives them: as many seconds after 1970 as they have bytes, and none
for the directory, whose time shows that a file was removed.
"""

import os
from errno import ENOSPC

from shibafu.cni.names import calc_digest
from shibafu.lean.files import open_file, read_file, write_file
from shibafu.lean.ip import Address, parse_address

_MAX_FILE = 1 << 26


class IndexRecord:
    """An attachment's entry in the index.

    Args:
        container_id: CNI_CONTAINERID.
        ifname: CNI_IFNAME; empty for the leases of old versions of host-local.
        addresses: the addresses that it has.
        netns: the path of its network namespace; empty when that is unknown.
        view: from where it was seen there, and which one it was; empty when that is unknown.
    """

    __slots__ = ("addresses", "container_id", "ifname", "netns", "view")

    def __init__(
        self, container_id: str, ifname: str, addresses: list[Address], netns: str = "", view: str = ""
    ) -> None:
        self.container_id = container_id
        self.ifname = ifname
        self.addresses = addresses
        self.netns = netns
        self.view = view

    @property
    def owner(self) -> tuple[str, str]:
        """The attachment: container ID and interface name."""
        return self.container_id, self.ifname


class IndexRecords:
    """The records in a directory."""

    __slots__ = ("directory",)

    def __init__(self, directory: str) -> None:
        self.directory = directory

    def read(self, container_id: str, ifname: str) -> IndexRecord | None:
        """Return what is recorded of an attachment."""
        content = read_file(self._path(container_id), _MAX_FILE) or b""
        start, end = _find_line(content, _calc_key(container_id, ifname))
        return _parse_line(content[start:end])

    def is_intact(self, container_id: str) -> bool:
        """Return whether no other program has changed the file of a container's records."""
        try:
            return _is_signed(self._path(container_id))
        except FileNotFoundError:
            return self._is_signed()

    def write(self, record: IndexRecord) -> None:
        """Write an attachment's record, replacing an earlier one."""
        path = self._path(record.container_id)
        existing = read_file(path, _MAX_FILE)
        content = existing or b""
        start, end = _find_line(content, _calc_key(*record.owner))
        line = _format_line(record)
        if start < end:
            self._rewrite(path, content[:start] + line + content[end:])
            return
        # The writer of a record has looked for it before, so that the file, or its absence, was right.
        descriptor = open_file(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        try:
            if os.write(descriptor, line) != len(line):
                raise OSError(ENOSPC, os.strerror(ENOSPC), path)
        finally:
            os.close(descriptor)
        _sign(path, len(content) + len(line))
        if existing is None:
            _sign(self.directory, 0)

    def remove(self, container_id: str, ifname: str) -> None:
        """Forget an attachment."""
        path = self._path(container_id)
        content = read_file(path, _MAX_FILE) or b""
        start, end = _find_line(content, _calc_key(container_id, ifname))
        if start < end:
            self._rewrite(path, content[:start] + content[end:])

    def read_all(self) -> dict[tuple[str, str], IndexRecord]:
        """Return all records."""
        records = {}
        for name in _list(self.directory):
            try:
                content = read_file(f"{self.directory}/{name}", _MAX_FILE) or b""
            except OSError:
                continue  # whatever it is, it has no meaning
            # Not splitlines(): a path may hold the other characters that it splits at.
            for line in content.split(b"\n"):
                record = _parse_line(line + b"\n")
                if record is not None:
                    records[record.owner] = record
        return records

    def replace_all(self, records: list[IndexRecord]) -> None:
        """Make the files hold these records and no others."""
        contents: dict[str, list[bytes]] = {f"{self.directory}/{name}": [] for name in _list(self.directory)}
        for record in records:
            # Some other program's file, whose owner no runtime can ask for, need not be found by it.
            if _is_plain(record.container_id) and _is_plain(record.ifname):
                contents.setdefault(self._path(record.container_id), []).append(_format_line(record))
        for path, lines in contents.items():
            content = b"".join(lines)
            write_file(path, content)
            _sign(path, len(content))
        _sign(self.directory, 0)

    def _rewrite(self, path: str, content: bytes) -> None:
        is_signed = _is_signed(path)
        write_file(path, content)
        if is_signed:
            _sign(path, len(content))

    def _is_signed(self) -> bool:
        try:
            return os.stat(self.directory).st_mtime_ns == 0
        except FileNotFoundError:
            return False

    def _path(self, container_id: str) -> str:
        return f"{self.directory}/{_calc_digest(os.fsencode(container_id), size=1)}"


def _is_signed(path: str) -> bool:
    found = os.stat(path)
    return found.st_mtime_ns == found.st_size * 1_000_000_000


def _sign(path: str, size: int) -> None:
    os.utime(path, (size, size))


def _list(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _is_plain(text: str) -> bool:
    return not any(c.isspace() or c == "\0" for c in text)


def _calc_key(container_id: str, ifname: str) -> bytes:
    return os.fsencode(f"{container_id}\t{ifname}\t")


def _find_line(content: bytes, key: bytes) -> tuple[int, int]:
    """Return where the line that begins with `key` starts and where the next one does; (0, 0) for none."""
    start = 0 if content.startswith(key) else content.find(b"\n" + key) + 1
    if not content.startswith(key, start):
        return 0, 0
    return start, content.find(b"\n", start) + 1 or len(content)


def _format_line(record: IndexRecord) -> bytes:
    addresses = " ".join(str(address) for address in record.addresses)
    netns = record.netns if "\n" not in record.netns else ""
    seen = f"{record.view} {netns}" if netns and record.view else netns
    fields = _calc_key(*record.owner) + os.fsencode(f"{addresses}\t{seen}")
    return fields + b"\t" + _calc_check(fields) + b"\n"


def _calc_check(fields: bytes) -> bytes:
    return _calc_digest(fields, size=4).encode()


def _calc_digest(content: bytes, size: int) -> str:
    # Of the bytes, whatever they are: names on disk need not be text in the locale of this call.
    return calc_digest(content.decode("latin-1"), size=size)


def _parse_line(line: bytes) -> IndexRecord | None:
    """Return the record of a line; None for one that is not whole."""
    fields, _, check = line.rpartition(b"\t")
    if check != _calc_check(fields) + b"\n":
        return None
    try:
        container_id, ifname, addresses, netns = os.fsdecode(fields).split("\t", 3)
        view, _, path = ("", "", netns) if netns.startswith("/") else netns.partition(" ")
        parsed = [parse_address(text) for text in addresses.split(" ")]
        return IndexRecord(container_id, ifname, parsed, path, view)
    except ValueError:
        return None
