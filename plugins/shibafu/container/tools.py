"""Running the programs that do the work: runc, mount, tar, umoci, skopeo. Never through a shell."""

import shutil
import subprocess

from shibafu.container.errors import ContainerError

# What to install for a program, where the package has another name.
_PACKAGES = {"umount": "mount", "cp": "coreutils", "rm": "coreutils"}


def find_tool(name: str, why: str) -> str:
    """Return the path of a program.

    Raises:
        ContainerError: it is not installed; `why` says what it is needed for.
    """
    path = shutil.which(name)
    if path is None:
        package = _PACKAGES.get(name, name)
        raise ContainerError(f"{name} is not installed: {why}", f"apt-get install {package}")
    return path


def run_tool(name: str, *arguments: str, why: str) -> str:
    """Run a program and return what it printed.

    Args:
        name: the program.
        arguments: its arguments.
        why: what it is needed for, in case it is not installed.

    Raises:
        ContainerError: it is not installed, or failed, with what it said.
    """
    done = subprocess.run(
        [find_tool(name, why), *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    if done.returncode != 0:
        said = (done.stderr or done.stdout).decode("utf-8", "replace").strip()
        raise ContainerError(f"{name} failed: {said or f'exit status {done.returncode}'}")
    return done.stdout.decode("utf-8", "replace")
