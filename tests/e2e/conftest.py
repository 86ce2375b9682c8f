"""Fixtures of the tests with real runtimes, plugins of the reference, and networks of several hosts."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.command import DATA_DIR, Command
from e2e.containers import Containers
from e2e.image import make_archive, make_rootfs
from e2e.libcni import CniTool
from e2e.machine import Machine
from support.suite import Suite

HERE = Path(__file__).parent
ROOT = HERE.parent.parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.root)
            if os.geteuid():
                item.add_marker(pytest.mark.skip(reason="needs root: it runs containers"))


@pytest.fixture(scope="session")
def suite(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Suite:
    """Our executables as they are shipped, under their own names and those of what they replace."""
    built = Path(request.config.getoption("--suite") or ROOT / "dist/shibafu")
    if built == ROOT / "dist/shibafu":
        subprocess.run([ROOT / "packaging/build.sh"], check=True, stdout=subprocess.DEVNULL)
    directory = tmp_path_factory.mktemp("cni-bin")
    return Suite.of_executables(directory, built)


@pytest.fixture
def machine(suite: Suite) -> Iterator[Machine]:
    """Run the test's programs on a machine of their own, and see that nothing is left there."""
    with Machine(suite.directory) as machine:
        yield machine
        assert machine.leftovers() == []


@pytest.fixture
def command(machine: Machine, suite: Suite) -> Command:
    return Command(machine, suite.command)


@pytest.fixture
def containers(machine: Machine, command: Command) -> Iterator[Containers]:
    """Remove all containers in the end, and see that nothing of them is mounted."""
    containers = Containers(machine, command)
    yield containers
    names = " ".join(view["name"] for view in command.json("ps --all"))
    if names:
        command(f"rm --force {names}")
    assert machine.files(f"{DATA_DIR}/containers") == []
    assert "overlay /run/shibafu-data" not in machine.run("cat", "/proc/mounts")
    assert machine.run("runc", "--root", "/run/shibafu-runc", "list", "--quiet") == ""


@pytest.fixture(scope="session")
def cnitool_binary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compile cnitool/main.go, which needs Debian's golang-go and golang-github-appc-cni-dev."""
    directory = tmp_path_factory.mktemp("cnitool")
    # The standard library, too, is compiled: once, for later runs and for processes beside this one.
    cache = ROOT / "build/go-cache"
    environment = {"GO111MODULE": "off", "GOPATH": "/usr/share/gocode", "GOCACHE": str(cache)}
    subprocess.run(
        ["go", "build", "-o", directory / "cnitool", "."],
        cwd=HERE / "cnitool",
        env=dict(os.environ) | environment,
        check=True,
    )
    return directory / "cnitool"


@pytest.fixture
def cnitool(machine: Machine, cnitool_binary: Path) -> CniTool:
    return CniTool(machine, cnitool_binary)


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an OCI archive of `image.NAME`."""
    path = tmp_path_factory.mktemp("image") / "busybox.tar"
    make_archive(path)
    return path


@pytest.fixture
def rootfs(tmp_path: Path) -> Path:
    """Return the root file system of `image.NAME`."""
    make_rootfs(tmp_path / "rootfs")
    return tmp_path / "rootfs"


@pytest.fixture
def run(machine: Machine, command: Command) -> Iterator[Command]:
    """The command, with an image; its containers are removed in the end."""
    command("image import alpine --builtin")
    yield command
    names = " ".join(view["name"] for view in command.json("ps --all"))
    if names:
        command(f"rm --force {names}")
