"""An image out of this machine's busybox and ping, to try everything with, offline."""

import os
import re
import shutil
import subprocess
from pathlib import Path

from shibafu.cni.directories import make_directory
from shibafu.container.errors import ContainerError
from shibafu.container.image import Defaults, Making
from shibafu.container.tools import run_tool

_PLACES = ("/bin/busybox", "/usr/bin/busybox")
_DIRECTORIES = ("bin", "dev", "etc", "home", "proc", "root", "run", "sbin", "sys", "tmp", "usr", "var")
_FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
    "etc/group": "root:x:0:\nnogroup:x:65534:\n",
    "etc/nsswitch.conf": "hosts: files dns\n",
}
# ELF, elf(5): a program header of this type names the loader that a dynamically linked program needs.
_PT_INTERP = 3


def make_builtin(making: Making, places: tuple[str, ...] = _PLACES) -> None:
    """Fill an image with busybox, which is all of its programs but ping.

    Raises:
        ContainerError: there is none that is linked statically.
    """
    busybox = next((Path(place) for place in places if os.path.isfile(place)), None)
    if busybox is None or not is_static(busybox.read_bytes()):
        raise ContainerError(
            "the built-in image needs a statically linked busybox", "apt-get install busybox-static"
        )
    rootfs = making.rootfs
    for name in _DIRECTORIES:
        make_directory(f"{rootfs}/{name}", 0o1777 if name == "tmp" else 0o755)
    for name, content in _FILES.items():
        (rootfs / name).write_text(content, encoding="ascii")
        (rootfs / name).chmod(0o644)
    shutil.copyfile(busybox, rootfs / "bin/busybox")
    (rootfs / "bin/busybox").chmod(0o755)
    listing = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True)
    for applet in listing.stdout.split():
        link = rootfs / "bin" / applet
        if not link.exists():
            link.symlink_to("busybox")
    _add_ping(rootfs, shutil.which("ping"))
    making.defaults = Defaults(command=["/bin/sh"], env=["PATH=/bin:/sbin:/usr/bin:/usr/sbin"])


def _add_ping(rootfs: Path, ping: str | None) -> None:
    """Put this machine's ping in the place of busybox's, with the libraries that it needs.

    Busybox's opens a raw socket, for which containers have no right; that of iputils does not. Where there
    is none, busybox's stays.
    """
    if ping is None or os.path.basename(os.path.realpath(ping)) == "busybox":
        return
    try:
        listing = run_tool("ldd", ping, why="it finds the libraries of a program")
    except ContainerError:
        return
    libraries = re.findall(r"(?:=>|^)\s*(/\S+) \(0x", listing, re.MULTILINE)
    for library in libraries:
        copy = rootfs / library.lstrip("/")
        make_directory(str(copy.parent), 0o755)
        shutil.copy(library, copy)
    (rootfs / "bin/ping").unlink(missing_ok=True)
    shutil.copyfile(ping, rootfs / "bin/ping")
    (rootfs / "bin/ping").chmod(0o755)


def is_static(program: bytes) -> bool:
    """Return whether an ELF program needs no loader; False for anything other than a 64-bit ELF program."""
    if program[:5] != b"\x7fELF\x02":
        return False
    order = "little" if program[5] == 1 else "big"

    def number(offset: int, size: int) -> int:
        return int.from_bytes(program[offset : offset + size], order)  # type: ignore[arg-type]

    headers, size, count = number(32, 8), number(54, 2), number(56, 2)
    return all(number(headers + size * i, 4) != _PT_INTERP for i in range(count))
