"""The register of a host's published ports: all networks' together, whichever backend makes their rules.

    /run/shibafu/ports/<host's namespace>

A JSON object: under `netns` which namespace that is, as inode numbers are used again, under `complete`
whether it lists everything, and each publication under its key. It is read and replaced as a whole, under a
lock of the host. What counts are the kernel's rules: without a register, they are found by their comments.
"""

import os

from shibafu.cni.directories import make_directory, secure_directories
from shibafu.cni.lock import Lock
from shibafu.cni.names import NFTABLES
from shibafu.lean.files import read_file, remove_file, write_file
from shibafu.lean.json import encode_lines, join_lines, loads, split_lines
from shibafu.portmap.publication import Publication
from shibafu.resource.home import calc_mark

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    # Inside the class, `list` is the method.
    _Publications = list[Publication]

_ROOT = "/run/shibafu"
_MARK = "netns"
_COMPLETE = "complete"
_LARGEST = 64 << 20


class Register:
    """The publications of the network namespace that this process is in.

    Between `with` and its end, nobody else changes them, or their rules.

    Raises:
        CniError: others could have forged it.
    """

    __slots__ = (
        "_entries",
        "_fresh",
        "_lines",
        "_lock",
        "_mark",
        "_parsed",
        "_path",
        "is_complete",
        "is_found",
    )

    def __init__(self) -> None:
        inode = os.stat("/proc/self/ns/net").st_ino
        self._path = f"{_ROOT}/ports/{inode}"
        self._fresh = f"{self._path}.new"
        self._lock = Lock(f"ports-{inode}", "the register of published ports")
        self._mark = ""
        self._entries: dict[str, object] = {}
        # Of entries as they are in the file: to encode them again would take as long as all the rest.
        self._lines: dict[str, str] = {}
        self._parsed: dict[str, Publication | None] = {}
        # Whether it tells of all that is published. One that was lost and begun again does not.
        self.is_complete = False
        self.is_found = False

    def __enter__(self) -> "Register":
        secure_directories(_ROOT, os.path.dirname(self._path))
        self._lock.__enter__()
        try:
            self._read()
        except BaseException:
            # `with` does not leave what could not be entered: the next call would wait for this one's lock.
            self._lock.__exit__()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self._lock.__exit__()

    def find(self, key: str) -> Publication | None:
        """Return what an attachment publishes; None when that is nothing, or unknown."""
        if key not in self._parsed:
            self._parsed[key] = _parse(self._entries.get(key))
        return self._parsed[key]

    def list(self) -> "_Publications":
        """Return all publications; what cannot be read is left out."""
        return self._list(self._entries)

    def list_rivals(self, own: Publication) -> "_Publications":
        """Return other publications, among them all that have a port which one has as well."""
        spans: dict[str, tuple[int, int]] = {}
        for one in own.mappings:
            low, high = spans.get(one.protocol, (one.first, one.last))
            spans[one.protocol] = min(low, one.first), max(high, one.last)
        keys = [key for key, entry in self._entries.items() if _touches(entry, spans)]
        return self._list(key for key in keys if key != own.key)

    def find_companions(self, own: Publication) -> "Companions":
        """Return the other publications whose rules may be in the same chains, or table, as one's."""
        return Companions(self, own, self._entries)

    def _list(self, keys: "Iterable[str]") -> "_Publications":
        # To parse one takes longer than all the rest; most are of no interest.
        found = (self.find(key) for key in keys)
        return [one for one in found if one is not None]

    def put(self, publication: Publication) -> None:
        """Enter a publication, in place of the attachment's last one."""
        self._entries[publication.key] = publication.to_json()
        self._lines.pop(publication.key, None)
        self._parsed.pop(publication.key, None)
        self._write()

    def remove(self, key: str) -> None:
        """Take a publication out."""
        self._parsed.pop(key, None)
        self._lines.pop(key, None)
        if self._entries.pop(key, None) is not None:
            self._write()

    def _read(self) -> None:
        self._mark = calc_mark()
        content = read_file(self._path, _LARGEST) or b"null"
        try:
            document = loads(content)
        except ValueError:
            document = None
        if isinstance(document, dict):
            self._lines = split_lines(content.decode("utf-8", "replace"), document)
        # One of a namespace that is gone tells nothing.
        self.is_found = isinstance(document, dict) and document.pop(_MARK, "") == self._mark
        self._entries = document if self.is_found and isinstance(document, dict) else {}
        self.is_complete = self.is_found and self._entries.pop(_COMPLETE, True) is True
        remove_file(self._fresh)  # of a call that was killed

    def _write(self) -> None:
        if not self._entries:
            remove_file(self._path)
            return
        make_directory(os.path.dirname(self._path), 0o700)
        # Beside it first: a killed process leaves the old register or the new one.
        lines = encode_lines({_MARK: self._mark, _COMPLETE: self.is_complete})
        lines |= {key: self._lines[key] for key in self._entries if key in self._lines}
        lines |= encode_lines({key: entry for key, entry in self._entries.items() if key not in lines})
        write_file(self._fresh, join_lines(lines.values()).encode("utf-8", "surrogateescape"))
        os.rename(self._fresh, self._path)
        self.is_found = True


class Companions:
    """The other publications whose rules may be in the same chains, or table, as one's.

    They are parsed as they are reached: mostly it matters only whether there are any.

    Args:
        register: the register, locked.
        own: the publication.
        entries: all that is in the register.
    """

    __slots__ = ("_entries", "_own", "_register")

    def __init__(self, register: Register, own: Publication, entries: "Mapping[str, object]") -> None:
        self._register = register
        self._own = own
        self._entries = entries

    def __iter__(self) -> "Iterator[Publication]":
        return self._parse(lambda entry: True)

    def with_same_address(self) -> "Iterator[Publication]":
        """Yield those that lead to an address of the publication's."""
        addresses = {str(target.address) for target in self._own.targets.values()}
        return self._parse(lambda entry: not addresses.isdisjoint(_list_addresses(entry)))

    def _parse(self, is_wanted: "Callable[[dict[str, object]], bool]") -> "Iterator[Publication]":
        own = self._own
        shared = {"backend": own.backend} | ({} if own.backend == NFTABLES else {"network": own.network})
        for key, entry in self._entries.items():
            if isinstance(entry, dict) and shared.items() <= entry.items() and is_wanted(entry):
                one = self._register.find(key) if key != own.key else None
                if one is not None:
                    yield one


def _list_addresses(entry: "dict[str, object]") -> "list[str]":
    targets = entry.get("targets")
    return [str(text).partition("/")[0] for text in targets] if isinstance(targets, list) else []


def _touches(entry: object, spans: dict[str, tuple[int, int]]) -> bool:
    """Return whether an entry has ports between the lowest and the highest of a protocol."""
    if not isinstance(entry, dict):
        return False
    try:
        for one in entry["portMappings"]:
            low, high = spans.get(one["protocol"], (1, 0))
            if one["hostPort"] <= high and one["hostPort"] + one.get("range", 1) > low:
                return True
    except (AttributeError, KeyError, TypeError):
        pass  # somebody has written into it
    return False


def _parse(value: object) -> Publication | None:
    try:
        return Publication.from_json(value)
    except ValueError:
        return None  # somebody has written into it
