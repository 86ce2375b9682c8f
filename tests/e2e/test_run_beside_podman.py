"""Containers of `shibafu run` beside Podman's and Docker's: none is confined less than Podman's, by default.

docs/security.md has what these tests measure, in a table.
"""

import os
import re
import subprocess
from pathlib import Path

import pytest

from e2e.attacks import attack
from e2e.command import Command
from e2e.confinement import NAMESPACES, Confinement, describe, find_weaker
from e2e.engines import Docker, Engine, PodmanRun, Shibafu
from e2e.image import make_archive, make_layer
from e2e.machine import REFERENCE, Machine
from e2e.podman import Podman
from support.suite import Suite

_HERE = Path(__file__).parent
_ROOT = _HERE.parent.parent
_SECURITY = (_ROOT / "docs/security.md").read_text()
_COLUMNS = ("`shibafu run`", "Podman 4.3", "Docker 20.10")
_DOCKER = "20.10"
_NETWORKS = "### Networks"


@pytest.fixture(scope="module")
def probe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compile probe/main.go, which needs Debian's golang-golang-x-sys-dev; linked statically."""
    path = tmp_path_factory.mktemp("probe") / "probe"
    settings = {"GO111MODULE": "off", "GOPATH": "/usr/share/gocode", "GOCACHE": str(_ROOT / "build/go-cache")}
    subprocess.run(
        ["go", "build", "-o", path, "."],
        cwd=_HERE / "probe",
        env=dict(os.environ) | settings | {"CGO_ENABLED": "0"},
        check=True,
    )
    return path


@pytest.fixture(scope="module")
def probe_image(probe: Path) -> Path:
    path = probe.with_name("image.tar")
    make_archive(path, [probe])
    return path


@pytest.fixture
def shibafu(machine: Machine, command: Command, probe_image: Path) -> Shibafu:
    return Shibafu(machine, command, probe_image)


@pytest.fixture
def podman(machine: Machine, probe_image: Path) -> PodmanRun:
    return PodmanRun(Podman(machine, probe_image, REFERENCE))


def measure(machine: Machine, engine: Engine, *options: str) -> Confinement:
    """Measure a container with a volume below which something else is mounted."""
    machine.run("mkdir", "-p", "/run/shared/below")
    if machine.try_run("mountpoint", "-q", "/run/shared/below").returncode != 0:
        machine.run("mount", "-t", "tmpfs", "tmpfs", "/run/shared/below")
    machine.run("touch", "/run/shared/file", "/run/shared/below/file")
    paths = ("/mnt/file", "/mnt/below/file")
    return engine.measure("-v", "/run/shared:/mnt:ro", *options, paths=paths)


def assert_documented(number: int, cells: dict[str, str]) -> None:
    """Compare a column with the table, row by row, both ways."""
    documented = read_column(number)
    if Path("/sys/fs/cgroup/cgroup.controllers").exists():
        documented.pop(NAMESPACES)
        cells = {row: cell for row, cell in cells.items() if row != NAMESPACES}
    assert documented == cells


def read_column(number: int, title: str = "## Comparison with Podman and Docker") -> dict[str, str]:
    """Return a column of a table: rows -> cells."""
    table = _SECURITY.partition(f"{title}\n")[2].partition("\n### ")[0]
    lines = [line.strip("|").split("|") for line in table.splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line] for line in lines]
    assert rows[0][1:] == list(_COLUMNS)
    return {row[0]: row[number] for row in rows[2:]}


def read_exceptions() -> set[str]:
    """Return what docs/security.md says to be weaker than Podman's."""
    section = _SECURITY.partition("### Weaker than Podman")[2].partition("\n#")[0]
    return set(re.findall(r"^- \*\*(.+?)\*\*", section, re.MULTILINE))


def test_nothing_is_weaker_than_podmans_but_what_is_documented(
    machine: Machine, shibafu: Shibafu, podman: PodmanRun
) -> None:
    ours, theirs = measure(machine, shibafu), measure(machine, podman)
    findings = find_weaker(ours, theirs)
    # Only where the kernel has AppArmor there is a profile to lack.
    if Path("/sys/module/apparmor").exists():
        assert findings.pop("profile")
    assert findings == {}
    assert read_exceptions() == {"AppArmor"}

    assert_documented(1, describe(ours))
    assert_documented(2, describe(theirs, ours))


@pytest.mark.parametrize(
    ("option", "aspects"),
    [
        ("--cap-add=NET_RAW", {"capabilities", "system calls"}),
        *(
            pytest.param(*each, marks=pytest.mark.long)
            for each in (
                ("--security-opt=seccomp=unconfined", {"seccomp", "system calls"}),
                ("--network=host", {"namespaces"}),
                ("--ulimit=core=100:-1", {"limits of resources"}),
                ("-v/run/shared:/mnt", {"mounts", "volumes"}),
            )
        ),
    ],
)
def test_what_is_weaker_is_found(machine: Machine, shibafu: Shibafu, option: str, aspects: set[str]) -> None:
    """Proof that the other test can fail."""
    assert set(find_weaker(measure(machine, shibafu, option), measure(machine, shibafu))) == aspects


@pytest.mark.long
def test_networks_keep_off_what_podmans_do(machine: Machine, shibafu: Shibafu) -> None:
    """On networks that were made without options."""
    documented, podmans = (read_column(number, _NETWORKS) for number in (1, 2))
    assert attack(machine, shibafu) == documented
    assert not [row for row, cell in documented.items() if cell == "yes" and podmans[row] == "no"]


def test_podmans_networks(suite: Suite, probe_image: Path) -> None:
    """With the reference's plugins; also proof that the attacks are such."""
    # On a machine of its own, since these leave some results in libcni's cache.
    with Machine(suite.directory) as other:
        podman = PodmanRun(Podman(other, probe_image, REFERENCE))
        assert attack(other, podman) == read_column(2, _NETWORKS)


@pytest.mark.long  # nobody wants docker.io on their machine for the sake of a column
def test_dockers_column(suite: Suite, probe: Path, shibafu: Shibafu, machine: Machine) -> None:
    ours = measure(machine, shibafu)
    layer = probe.with_name("layer.tar")
    make_layer(layer, [probe])
    # On a machine of its own, since Docker's rules stay there.
    with Machine(suite.directory) as other:
        docker = Docker(other, layer)
        theirs = measure(other, docker)
        attacks = attack(other, docker)
        if not docker.version.startswith(_DOCKER):
            pytest.skip(f"the table is about Docker {_DOCKER}, and this is {docker.version}")
    assert_documented(3, describe(theirs, ours))
    assert attacks == read_column(3, _NETWORKS)
