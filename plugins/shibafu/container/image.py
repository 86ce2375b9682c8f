"""Images: root file systems by name, with what their makers say about running them.

    <directory>/<name>/rootfs/        the root file system, which nobody writes to
    <directory>/<name>/image.json     where it came from, and its defaults

An image appears whole or not at all: it is made under another name, which begins with a dot, and whose lock
shows whether a process is still at work.
"""

import fcntl
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from shibafu.cni.names import is_valid_identifier
from shibafu.container.data_dir import ensure_private
from shibafu.container.errors import ContainerError
from shibafu.lean.files import write_file

ROOTFS = "rootfs"
_DESCRIPTION = "image.json"
# What tempfile.mkdtemp makes of a name.
_ASIDE = re.compile(r"\..+-[a-z0-9_]{8}")


@dataclass(frozen=True)
class Defaults:
    """The defaults for containers of an image.

    Args:
        entrypoint: words before the command.
        command: the command.
        env: the environment, `NAME=VALUE`.
        workdir: the working directory.
        user: `user[:group]`, names or numbers.
    """

    entrypoint: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=lambda: ["/bin/sh"])
    env: list[str] = field(default_factory=list)
    workdir: str = "/"
    user: str = ""


@dataclass(frozen=True)
class Image:
    """An image.

    Args:
        name: what people call it.
        rootfs: the directory of its root file system.
        defaults: what its containers have.
        source: where it came from.
        created: when it was imported, seconds since 1970.
    """

    name: str
    rootfs: str
    defaults: Defaults
    source: str
    created: float


class ImageStore:
    """The images of this machine.

    Args:
        directory: where they are.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def find(self, name: str) -> Image | None:
        """Return an image; None when there is none of that name.

        Raises:
            ContainerError: it is damaged.
        """
        directory = self.directory / name
        if not is_valid_identifier(name) or not directory.is_dir():
            return None
        try:
            document = json.loads((directory / _DESCRIPTION).read_text(encoding="utf-8"))
            defaults = Defaults(**document["defaults"])
            return Image(
                name, str(directory / ROOTFS), defaults, str(document["source"]), document["created"]
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ContainerError(
                f"image {name} is damaged: {error}", f"remove it: shibafu image rm {name}"
            ) from None

    def images(self) -> list[Image]:
        """Return all images that are whole, by name."""
        if not self.directory.is_dir():
            return []
        images = []
        for name in sorted(os.listdir(self.directory)):
            try:
                image = self.find(name)
            except ContainerError:
                continue
            if image is not None:
                images.append(image)
        return images

    def require_free(self, name: str) -> None:
        """Refuse a name that no image can have, or that one has.

        Raises:
            ContainerError: why.
        """
        if not is_valid_identifier(name):
            raise ContainerError(
                f'"{name}" is not a valid name for an image',
                "use letters, digits and any of _ . - and begin with a letter or digit",
            )
        if (self.directory / name).exists():
            raise ContainerError(
                f"there is already an image {name}",
                f"choose another name, or remove it: shibafu image rm {name}",
            )

    @contextmanager
    def making(self, name: str, source: str) -> "Iterator[Making]":
        """Make an image in a directory aside, which becomes the image if the block succeeds.

        Raises:
            ContainerError: the name is taken, or none.
        """
        self.require_free(name)
        ensure_private(self.directory)
        with self._aside(name) as aside:
            making = Making(aside)
            yield making
            description = {
                "source": source,
                "created": time.time(),
                "defaults": asdict(making.defaults),
            }
            write_file(f"{aside}/{_DESCRIPTION}", f"{json.dumps(description, indent=4)}\n".encode())
            self.require_free(name)
            aside.rename(self.directory / name)

    def remove(self, name: str) -> None:
        """Remove an image.

        Raises:
            ContainerError: there is none of that name.
        """
        directory = self.directory / name
        if not is_valid_identifier(name) or not directory.is_dir():
            raise ContainerError(f"there is no image {name}", "see: shibafu image ls")
        # Atomically, for those who look in the meantime.
        with self._aside(name) as aside:
            directory.rename(aside / name)
            shutil.rmtree(aside)

    def remove_leftovers(self) -> None:
        """Remove what killed processes left of images that they were making or removing."""
        if not self.directory.is_dir():
            return
        with ExitStack() as stack:
            with _locked(self.directory):
                names = [name for name in os.listdir(self.directory) if _ASIDE.fullmatch(name)]
                unused = [name for name in names if _enter_lock(stack, self.directory / name)]
            for name in unused:
                shutil.rmtree(self.directory / name, ignore_errors=True)

    @contextmanager
    def _aside(self, name: str) -> "Iterator[Path]":
        """Make a directory next to the images, removed in the end, or by others if this is killed."""
        self.remove_leftovers()
        with ExitStack() as stack:
            # Nobody may find the directory before it is locked.
            with _locked(self.directory):
                aside = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=self.directory))
                stack.enter_context(_locked(aside))
            try:
                yield aside
            finally:
                shutil.rmtree(aside, ignore_errors=True)


@contextmanager
def _locked(directory: Path, flags: int = 0) -> "Iterator[None]":
    """Hold a directory's lock.

    Args:
        directory: the directory.
        flags: LOCK_NB, to wait for nobody.

    Raises:
        OSError: it is not a directory, or somebody else holds its lock.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | flags)
        yield
    finally:
        os.close(descriptor)


def _enter_lock(stack: ExitStack, directory: Path) -> bool:
    """Have a stack hold a directory's lock; return whether nobody else does."""
    try:
        stack.enter_context(_locked(directory, fcntl.LOCK_NB))
    except OSError:
        return False
    return True


class Making:
    """An image that is being made.

    Args:
        directory: where.

    Attributes:
        defaults: what its containers get.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.rootfs = directory / ROOTFS
        self.defaults = Defaults()
