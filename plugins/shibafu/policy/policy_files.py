"""The files that policies are declared in: those that people write, and the one that the command writes.

    /etc/shibafu/policies/
        *.yaml *.yml *.json    read in the order of their names
        applied.json           what `shibafu policy apply -f` was given: one document on a line

Who can write there decides what containers reach, so that only the owner can. What networks' configurations
state comes in addition; all of it is the host's alike.
"""

import fcntl
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from shibafu.cni.directories import make_directory, secure_directories
from shibafu.cni.lock import lock_file
from shibafu.documents.document_files import read_document
from shibafu.documents.errors import DocumentError
from shibafu.documents.json_lines import format_json_lines
from shibafu.policy.model import PolicySet
from shibafu.policy.policy_documents import PolicySource, join_sources, parse_sources

_APPLIED = "applied.json"
_ENDINGS = (".yaml", ".yml", ".json")
_MAX_SIZE = 16 << 20

CREATE, CHANGE, KEEP = "create", "change", "keep"


@dataclass(frozen=True)
class PolicyChange:
    """What happens to a policy or a namespace.

    Args:
        action: CREATE, CHANGE or KEEP.
        source: what it is afterwards.
    """

    action: str
    source: PolicySource


@dataclass(frozen=True)
class NetworkPolicies:
    """What a plugin's configuration states of policies.

    Args:
        digest: of what it states.
        sources: those that are in the configuration.
        paths: the files of the directory that it names.
    """

    digest: str
    sources: tuple[PolicySource, ...]
    paths: tuple[str, ...]


def read_sources(
    paths: Iterable[str], mistakes: list[str], others: Iterable[PolicySource] = ()
) -> list[PolicySource]:
    """Return what files declare together.

    Args:
        paths: files, - for standard input.
        mistakes: gets what is wrong with files, of which nothing is returned, and what is declared twice.
        others: what is declared elsewhere, and returned as well.

    Raises:
        OSError: a file cannot be read.
    """
    sources: dict[tuple[str, ...], PolicySource] = {}
    for source in (*_parse_files(paths, mistakes), *others):
        first = sources.setdefault(source.key, source)
        if first is not source:
            place, where = source.declared.place, first.declared.place
            mistakes.append(f"{place}: {source.title} occurs twice, first in {where}")
    return list(sources.values())


def _parse_files(paths: Iterable[str], mistakes: list[str]) -> Iterator[PolicySource]:
    for path in paths:
        try:
            yield from parse_sources(*read_document(path, _MAX_SIZE))
        except DocumentError as error:
            mistakes.append(str(error))


def list_policy_files(directory: str) -> list[str]:
    """Return the paths of a directory's files with policies, in the order in which they are read.

    Raises:
        OSError: there is no such directory.
    """
    return [f"{directory}/{name}" for name in sorted(os.listdir(directory)) if is_policy_file(name)]


def expand_paths(paths: Iterable[str]) -> list[str]:
    """Return files, and those of directories.

    Raises:
        OSError: a directory cannot be read.
    """
    return [
        path
        for given in paths
        for path in (list_policy_files(given.rstrip("/") or "/") if os.path.isdir(given) else [given])
    ]


def is_policy_file(name: str) -> bool:
    """Return whether a file has policies, by its name."""
    return name.endswith(_ENDINGS) and not name.startswith(".")


def _find_no_networks(_mistakes: list[str]) -> list[NetworkPolicies]:
    return []


class PolicyDirectory:
    """The directory of a host's policies, and what networks' configurations state in addition.

    Args:
        path: the directory; it may be missing.
        read_networks: returns what the configurations state, and adds to what is wrong with them.
    """

    def __init__(
        self, path: str, read_networks: Callable[[list[str]], list[NetworkPolicies]] = _find_no_networks
    ) -> None:
        self.path = path
        self._applied = f"{path}/{_APPLIED}"
        self._read_networks = read_networks

    def load(self, mistakes: list[str]) -> PolicySet:
        """Return all policies of valid files; see `read_sources`."""
        sources, stated = self._read(mistakes)
        return join_sources(sources, stated)

    def calc_changes(self, sources: Iterable[PolicySource]) -> list[PolicyChange]:
        """Return what `store` would do.

        Raises:
            DocumentError: see `store`.
        """
        return self._calc_changes(sources, self._read_valid()[0])

    def _calc_changes(
        self, sources: Iterable[PolicySource], present: dict[tuple[str, ...], PolicySource]
    ) -> list[PolicyChange]:
        mistakes, changes = [], []
        for source in sources:
            other = present.get(source.key)
            if other is None:
                changes.append(PolicyChange(CREATE, source))
            elif other.document == source.document:
                changes.append(PolicyChange(KEEP, source))
            elif self._is_applied(other):
                changes.append(PolicyChange(CHANGE, source))
            else:
                place = source.declared.place
                mistakes.append(
                    f"{place}: {source.title} is declared in {other.declared.place}: change it there"
                )
        if mistakes:
            raise DocumentError("\n".join(mistakes))
        return changes

    def store(
        self, sources: Iterable[PolicySource], enforce: Callable[[PolicySet], None]
    ) -> list[PolicyChange]:
        """Add policies and namespaces, or change those that were added before: all of them, or none.

        Args:
            sources: the policies and namespaces.
            enforce: has the kernel enforce all policies; nothing is written if it fails.

        Raises:
            DocumentError: a file of the directory is invalid, or another one declares something else for one.
            CniError: another process is changing them, or somebody else could.
        """
        with self._lock():
            present, stated = self._read_valid()
            changes = self._calc_changes(sources, present)
            changed = {one.source.key: one.source for one in changes if one.action != KEEP}
            present |= changed
            enforce(join_sources(present.values(), stated))
            if changed:
                self._write(one for one in present.values() if one.key in changed or self._is_applied(one))
        return changes

    def remove(self, namespace: str, name: str, enforce: Callable[[PolicySet], None]) -> None:
        """Remove a policy that was added.

        Args:
            namespace: of the policy.
            name: of the policy.
            enforce: see `store`.

        Raises:
            DocumentError: there is none, or a person has written it, who may want to keep the file.
        """
        with self._lock():
            present, stated = self._read_valid()
            source = present.get((namespace, name))
            if source is None:
                raise DocumentError(
                    f"there is no policy {namespace}/{name}", "`shibafu policy ls` lists them"
                )
            if not self._is_applied(source):
                place = source.declared.place
                raise DocumentError(f"policy {namespace}/{name} is declared in {place}", "remove it there")
            del present[source.key]
            enforce(join_sources(present.values(), stated))
            self._write(one for one in present.values() if self._is_applied(one))

    def _read(self, mistakes: list[str]) -> tuple[list[PolicySource], list[str]]:
        """Return all that is declared, and the digests of what networks state."""
        networks = self._read_networks(mistakes)
        try:
            own = list_policy_files(self.path)
        except FileNotFoundError:
            own = []
        # Networks may name the same directory.
        paths: dict[str, str] = {}
        for path in (*own, *(path for network in networks for path in network.paths)):
            paths.setdefault(os.path.realpath(path), path)
        others = (source for network in networks for source in network.sources)
        return read_sources(paths.values(), mistakes, others), [network.digest for network in networks]

    def _read_valid(self) -> tuple[dict[tuple[str, ...], PolicySource], list[str]]:
        mistakes: list[str] = []
        sources, stated = self._read(mistakes)
        if mistakes:
            raise DocumentError("\n".join(mistakes))
        return {source.key: source for source in sources}, stated

    def _is_applied(self, source: PolicySource) -> bool:
        return source.declared.place.rpartition(":")[0] == self._applied

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """Keep others from changing the policies."""
        secure_directories(os.path.dirname(self.path), self.path)
        make_directory(self.path, 0o700)
        descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            lock_file(descriptor, fcntl.LOCK_EX, "the policies")
            yield
        finally:
            os.close(descriptor)

    def _write(self, sources: Iterable[PolicySource]) -> None:
        aside = f"{self.path}/.{_APPLIED}.new"
        with open(aside, "w", encoding="utf-8", opener=_open_private) as file:
            file.write(format_json_lines(source.document for source in sources))
            file.flush()
            os.fsync(file.fileno())
        os.rename(aside, self._applied)


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def split_name(text: str) -> tuple[str, str]:
    """Return the namespace and the name of `NAMESPACE/NAME`, or of `NAME`, which is in `default`.

    Raises:
        DocumentError: it has another form.
    """
    namespace, name = text.split("/", 1) if "/" in text else ("default", text)
    if not (namespace and name) or "/" in name:
        raise DocumentError(f'"{text}" is not a policy', "write NAMESPACE/NAME, such as default/web")
    return namespace, name
