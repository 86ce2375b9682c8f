"""The Debian package: what is in it, and its life on a machine, of which nothing is left."""

import shutil
from pathlib import Path

import pytest

from dist.executables import PROGRAMS
from support.debian_package import build_package, run

# A package takes a core half a minute to compress.
pytestmark = pytest.mark.long
SCENARIO = Path(__file__).with_name("deb_scenario.sh")


@pytest.fixture(scope="module")
def package(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_package(built, tmp_path_factory.mktemp("deb"))


def test_two_builds_are_the_same(package: Path, built: Path, tmp_path: Path) -> None:
    elsewhere = 'umask 077; export TZ=Asia/Tokyo LC_ALL=C.UTF-8 TMPDIR="$PWD"; exec "$@"'
    again = build_package(built, tmp_path / "elsewhere", shell=elsewhere)
    assert again.name == package.name
    assert again.read_bytes() == package.read_bytes()


def test_control(package: Path) -> None:
    fields = dict(
        line.split(": ", 1) for line in run("dpkg-deb", "--field", package).splitlines() if line[0] != " "
    )
    assert fields["Package"] == "shibafu"
    assert f"shibafu_{fields['Version']}_{fields['Architecture']}.deb" == package.name
    assert fields["Recommends"] == "nftables"
    assert "iptables" in fields["Depends"].split(", ")
    assert int(fields["Installed-Size"]) > 1000


def test_files_belong_to_root_and_nobody_else_writes_them(package: Path) -> None:
    for line in run("dpkg-deb", "--contents", package).splitlines():
        mode, owner, *_ = line.split()
        assert owner == "root/root"
        assert mode[0] == "l" or (mode[5], mode[8]) == ("-", "-"), line


@pytest.mark.root
def test_install_upgrade_remove_purge(package: Path, built: Path, tmp_path: Path) -> None:
    """The upgrade happens while calls go on, of which none may fail."""
    newer = tmp_path / "newer"
    shutil.copytree(built, newer)
    (newer / "_internal" / "NEWS").write_text("all is new")
    upgrade = build_package(newer, tmp_path / "tree", "--version", "0.1.0+1")
    work = tmp_path / "work"
    work.mkdir()
    namespaces = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
    said = run(*namespaces, SCENARIO, work, package, upgrade, *PROGRAMS)
    assert said == ""
