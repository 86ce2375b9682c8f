"""The container that a hook is called for: its state and its bundle (OCI runtime specification)."""

import os
from errno import ENOENT

from shibafu.cni.config import Section
from shibafu.cni.errors import DECODING_FAILURE, INVALID_CONFIG, CniError
from shibafu.cni.files import read_file
from shibafu.cni.jsontext import loads

_STOPPED = "stopped"
_MAX_CONFIG = 1 << 24


class Container:
    """A container.

    Args:
        container_id: its ID.
        pid: its process; 0 when there is none any more.
        bundle: its bundle's directory, absolute.
        annotations: from the bundle and from the state.
        config: the bundle's config.json; empty when the container is gone and the bundle with it.
    """

    __slots__ = ("annotations", "bundle", "config", "id", "pid")

    def __init__(
        self, container_id: str, pid: int, bundle: str, annotations: dict[str, str], config: Section
    ) -> None:
        self.id = container_id
        self.pid = pid
        self.bundle = bundle
        self.annotations = annotations
        self.config = config

    @property
    def is_alive(self) -> bool:
        """Whether it has a process, and with it a network namespace."""
        return self.pid > 0

    @property
    def netns(self) -> str:
        """The path of its network namespace."""
        return f"/proc/{self.pid}/ns/net"

    @property
    def hostname(self) -> str:
        """What it calls itself."""
        return self.config.text("hostname") or self.id

    @property
    def rootfs(self) -> str:
        """The directory of its root file system; empty when config.json names none."""
        return self._resolve(self.config.section("root").text("path"))

    def find_shared_directories(self) -> list[str]:
        """Return the directories of the host that it sees and may write into."""
        sources = [
            self._resolve(mount.text("source"))
            for mount in self.config.sections("mounts")
            if _is_bind(mount) and not _is_read_only(mount)
        ]
        return [source for source in sources if os.path.isdir(source)]

    def find_mount(self, destination: str) -> str:
        """Return the file that is bind-mounted at a path inside the container; empty when there is none."""
        source = ""
        for mount in self.config.sections("mounts"):
            if mount.text("destination").rstrip("/") == destination:
                source = mount.text("source")  # a later mount covers an earlier one
        return self._resolve(source)

    def _resolve(self, path: str) -> str:
        return f"{self.bundle}/{path}" if path and not path.startswith("/") else path


def _is_bind(mount: Section) -> bool:
    return mount.text("type") == "bind" or not {"bind", "rbind"}.isdisjoint(mount.texts("options"))


def _is_read_only(mount: Section) -> bool:
    # Of several, runtimes take the last.
    return [option for option in mount.texts("options") if option in ("ro", "rw")][-1:] == ["ro"]


def parse_state(document: bytes) -> Container:
    """Parse the state that the runtime sends, and read the bundle that it names.

    Raises:
        CniError: it is no state of a container, or a living container's bundle cannot be read.
    """
    state = _parse(document, "the state on standard input")
    container_id = state.text("id")
    if not container_id:
        raise CniError(DECODING_FAILURE, "the state on standard input names no container", 'it has no "id"')
    # runc's states of stopped containers have no pid, crun's have 0, and others may have what it was.
    pid = 0 if state.text("status") == _STOPPED else state.number("pid") or 0
    bundle = state.text("bundle") or state.text("bundlePath")  # the latter before version 1.0
    config = _read_config(bundle, must_exist=pid > 0)
    return Container(container_id, pid, bundle, _parse_annotations(config, state, pid > 0), config)


def _parse_annotations(config: Section, state: Section, is_alive: bool) -> dict[str, str]:
    """Return the annotations; nonsense is passed over where a container is to be detached."""
    found: dict[str, str] = {}
    for section in (config, state):
        try:
            annotations = section.section("annotations")
            found |= {name: annotations.text(name) for name in annotations.values}
        except CniError:
            if is_alive:
                raise
    return found


def _read_config(bundle: str, must_exist: bool) -> Section:
    path = f"{bundle}/config.json"
    try:
        document = read_file(path, _MAX_CONFIG, follow=True)
        if document is None:
            raise FileNotFoundError(ENOENT, os.strerror(ENOENT), path)
        return _parse(document, path)
    except OSError as error:
        if must_exist:
            raise CniError(INVALID_CONFIG, f"cannot read {path}: {error.strerror}") from None
    except CniError:
        if must_exist:
            raise
    return Section({}, path)


def _parse(document: bytes, name: str) -> Section:
    try:
        value = loads(document)
    except ValueError as error:
        raise CniError(DECODING_FAILURE, f"{name} is no JSON: {error}") from None
    if not isinstance(value, dict):
        raise CniError(DECODING_FAILURE, f"{name} is no JSON object")
    return Section(value, name)
