"""The writable layer of a container: its image below, what it writes above (overlayfs)."""

from pathlib import Path

from shibafu.cni.directories import make_directory
from shibafu.container.errors import ContainerError
from shibafu.container.tools import run_tool

_MOUNTS = "/proc/self/mounts"


def mount_overlay(directory: Path, lower: str) -> None:
    """Mount a container's root file system at `directory/rootfs`, in place of one that already exists.

    Args:
        directory: the container's.
        lower: its image's root file system.

    Raises:
        ContainerError: the kernel refuses.
    """
    rootfs, upper, work = (directory / name for name in ("rootfs", "upper", "work"))
    unmount_overlay(directory)
    for made in (rootfs, upper, work):
        make_directory(str(made), 0o755)
    layers = (("lowerdir", lower), ("upperdir", str(upper)), ("workdir", str(work)))
    options = ",".join(f"{key}={_escape(path)}" for key, path in layers)
    try:
        run_tool("mount", "-t", "overlay", "overlay", "-o", options, str(rootfs), why="it mounts images")
    except ContainerError as error:
        raise ContainerError(
            f"the container's root file system cannot be mounted: {error.message}",
            "the kernel needs overlayfs, and --data-dir must be on a file system that it can write to, "
            "such as ext4, xfs or tmpfs, but not another overlay",
        ) from None


def unmount_overlay(directory: Path) -> None:
    """Take a container's root file system off; that it is not mounted is all right.

    Raises:
        ContainerError: somebody is using it.
    """
    if is_mounted(directory / "rootfs"):
        run_tool("umount", str(directory / "rootfs"), why="it unmounts images")


def is_mounted(path: Path) -> bool:
    """Return whether something is mounted at a path, proc_mounts(5)."""
    wanted = str(path.resolve())
    with open(_MOUNTS, encoding="utf-8", errors="surrogateescape") as mounts:
        return any(_unescape(line.split(" ")[1]) == wanted for line in mounts)


def _escape(path: str) -> str:
    """Return a path as overlayfs takes it: `:` and `,` separate."""
    return path.replace("\\", "\\\\").replace(":", "\\:").replace(",", "\\,")


def _unescape(text: str) -> str:
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, character)
    return text
