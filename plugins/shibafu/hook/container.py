"""The container that a hook is called for: its state and its bundle (OCI runtime specification)."""

import os
from errno import ENOENT

from shibafu.cni.config import Section
from shibafu.cni.errors import DECODING_FAILURE, INVALID_CONFIG, CniError
from shibafu.lean.files import read_file
from shibafu.lean.json import loads

_STOPPED = "stopped"
_MAX_CONFIG = 1 << 24


class Source:
    """A directory of the host that a container sees.

    Args:
        path: its path.
        is_writable: whether the container can write there.
        is_deep: whether it can write to what is mounted below it.
    """

    __slots__ = ("is_deep", "is_writable", "path")

    def __init__(self, path: str, is_writable: bool, is_deep: bool) -> None:
        self.path = path
        self.is_writable = is_writable
        self.is_deep = is_deep


class Container:
    """A container.

    Args:
        container_id: its ID.
        pid: its process; 0 when there is none any more.
        bundle: its bundle's directory, absolute.
        annotations: from the bundle and from the state.
        config: the bundle's config.json; empty when the container is gone and the bundle with it.
        identity: device and inode of the directory that config.json was read from; None without one.
    """

    __slots__ = ("annotations", "bundle", "config", "id", "identity", "pid")

    def __init__(
        self,
        container_id: str,
        pid: int,
        bundle: str,
        annotations: dict[str, str],
        config: Section,
        identity: tuple[int, int] | None = None,
    ) -> None:
        self.id = container_id
        self.pid = pid
        self.bundle = bundle
        self.annotations = annotations
        self.config = config
        self.identity = identity

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

    def find_sources(self) -> list[Source]:
        """Return the directories of the host that it can write to: its root file system and its mounts'."""
        rootfs = self.config.section("root").text("path")
        sources = [Source(rootfs, is_writable=True, is_deep=True)] if rootfs else []
        for mount in self.config.sections("mounts"):
            options = mount.texts("options")
            if mount.text("type") == "bind" or not {"bind", "rbind"}.isdisjoint(options):
                sources.append(_parse_bind(mount.text("source"), options))
            elif mount.text("type") == "overlay":
                sources += [
                    Source(option.partition("=")[2], is_writable=True, is_deep=False)
                    for option in options
                    if option.startswith(("upperdir=", "workdir="))
                ]
        for source in sources:
            source.path = self._resolve(source.path)
        return [source for source in sources if source.is_writable or source.is_deep]

    def find_mount(self, destination: str) -> str:
        """Return the file that is bind-mounted at a path inside the container; empty when there is none."""
        source = ""
        for mount in self.config.sections("mounts"):
            if mount.text("destination").rstrip("/") == destination:
                source = mount.text("source")  # a later mount covers an earlier one
        return self._resolve(source)

    def _resolve(self, path: str) -> str:
        return f"{self.bundle}/{path}" if path and not path.startswith("/") else path


def _parse_bind(path: str, options: list[str]) -> Source:
    """Parse the options of a bind mount, of which runtimes take the last that says something of a matter."""
    top = [option for option in options if option in ("ro", "rw")][-1:] == ["ro"]
    whole = [option for option in options if option in ("rro", "rrw")][-1:]
    # By `ro` alone, what is mounted below stays writable (mount_setattr(2)); `rrw` overrules it.
    is_recursive = "rbind" in options or "bind" not in options
    return Source(
        path,
        is_writable=not top or whole == ["rrw"],
        is_deep=is_recursive and not (top and whole == ["rro"]),
    )


def parse_state(document: bytes) -> Container:
    """Parse the state that the runtime sends, and read the bundle that it names.

    Raises:
        CniError: it is not the state of a container, or a living container's bundle cannot be read.
    """
    state = _parse(document, "the state on standard input")
    container_id = state.text("id")
    if not container_id:
        raise CniError(DECODING_FAILURE, "the state on standard input names no container", 'it has no "id"')
    # runc's states of stopped containers have no pid, crun's have 0, and others may have what it was.
    pid = 0 if state.text("status") == _STOPPED else state.number("pid") or 0
    bundle = state.text("bundle") or state.text("bundlePath")  # the latter before version 1.0
    config, identity = _read_config(bundle, must_exist=pid > 0)
    annotations = _parse_annotations(config, state, pid > 0)
    return Container(container_id, pid, bundle, annotations, config, identity)


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


def _read_config(bundle: str, must_exist: bool) -> tuple[Section, tuple[int, int] | None]:
    """Return config.json, and device and inode of its directory, which may be replaced later."""
    path = f"{bundle}/config.json"
    try:
        directory = os.open(bundle, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            status = os.fstat(directory)
            document = read_file(f"/proc/self/fd/{directory}/config.json", _MAX_CONFIG, follow=True)
        finally:
            os.close(directory)
        if document is None:
            raise FileNotFoundError(ENOENT, os.strerror(ENOENT), path)
        return _parse(document, path), (status.st_dev, status.st_ino)
    except OSError as error:
        if must_exist:
            raise CniError(INVALID_CONFIG, f"cannot read {path}: {error.strerror}") from None
    except CniError:
        if must_exist:
            raise
    return Section({}, path), None


def _parse(document: bytes, name: str) -> Section:
    try:
        value = loads(document)
    except ValueError as error:
        raise CniError(DECODING_FAILURE, f"{name} is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise CniError(DECODING_FAILURE, f"{name} is not a JSON object")
    return Section(value, name)
