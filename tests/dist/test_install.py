"""install.sh and uninstall.sh: into directories of the test's own, and in place while calls go on."""

import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dist.executables import PROGRAMS, ask_version, run_command
from dist.target import Target, run_script
from shibafu.engine.programs import REPLACED, SERVED
from support.built import ROOT


def test_the_documentation_names_the_folder_that_is_installed_into() -> None:
    (prefix,) = re.findall(r"^prefix=(\S+)", (ROOT / "packaging/install.sh").read_text(), re.MULTILINE)
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        named = set(re.findall(r"/usr[\w/]*/lib/shibafu", page.read_text()))
        assert named <= {prefix}, page


@pytest.fixture
def target(tmp_path: Path, built: Path) -> Target:
    return Target(tmp_path / "root", built)


@pytest.fixture
def other(tmp_path: Path, built: Path) -> Path:
    """Executables of another version."""
    directory = tmp_path / "other"
    shutil.copytree(built, directory)
    (directory / "_internal" / "NEWS").write_text("all is new")
    return directory


@contextmanager
def calling(call: Callable[[], object]) -> Iterator[None]:
    """Repeat a call all the time; it must never fail, and not be called only once."""
    end = threading.Event()
    calls: list[BaseException | None] = []

    def repeat() -> None:
        while not end.is_set():
            try:
                call()
                calls.append(None)
            except BaseException as failure:
                calls.append(failure)

    callers = [threading.Thread(target=repeat) for _ in range(2)]
    for caller in callers:
        caller.start()
    try:
        yield
    finally:
        end.set()
        for caller in callers:
            caller.join()
    assert len(calls) > 2
    assert [failure for failure in calls if failure] == []


def test_install_and_uninstall(target: Target) -> None:
    said = target.install()
    assert "installed shibafu 0." in said
    for name in PROGRAMS:
        ask_version(target.bindir / name)
        assert (target.bindir / name).readlink() == target.prefix / "current" / name
    for name in ("shibafu", *SERVED):
        assert (target.mandir / "man8" / f"{name}.8").stat().st_mode & 0o777 == 0o644
    assert (target.sbindir / "shibafu-hook").resolve().is_file()
    assert run_command(target.sbindir / "shibafu", "--version").startswith("shibafu 0.")
    for directory, name in (("bashdir", "shibafu"), ("zshdir", "_shibafu"), ("fishdir", "shibafu.fish")):
        assert "completion of shibafu" in (target.root / directory / name).read_text()
    assert sorted(path.name for path in target.bindir.iterdir()) == PROGRAMS
    assert not target.confdir.exists()

    target.uninstall()
    assert target.list_files() == {}
    assert not target.prefix.exists()


def test_installing_again_changes_nothing(target: Target) -> None:
    target.install()
    before, inode = target.list_files(), (target.prefix / "current").lstat().st_ino
    target.install()
    assert target.list_files() == before
    assert (target.prefix / "current").lstat().st_ino == inode


def test_all_names_of_the_reference(target: Target) -> None:
    """They lead to the plugins, and what had them comes back."""
    target.bindir.mkdir(parents=True)
    for name in REPLACED.values():
        (target.bindir / name).write_text(f"the reference's {name}")
    target.install("--as-reference")
    for plugin, name in REPLACED.items():
        assert (target.bindir / name).readlink() == target.prefix / "current" / plugin
        ask_version(target.bindir / name)
    target.uninstall()
    assert target.list_files() == {f"bindir/{name}": "" for name in REPLACED.values()}
    for name in REPLACED.values():
        assert (target.bindir / name).read_text() == f"the reference's {name}"


@pytest.mark.long
def test_names_of_the_reference(target: Target) -> None:
    """What had them comes back, be it a file or a link; what nobody had goes."""
    target.bindir.mkdir(parents=True)
    original = target.bindir / "bridge"
    original.write_text("the reference's")
    original.chmod(0o751)
    for _ in range(2):
        target.install("--as-reference")
        ask_version(target.bindir / "bridge")
        ask_version(target.bindir / "host-local")
    target.uninstall()
    assert target.list_files() == {"bindir/bridge": ""}
    assert original.read_text() == "the reference's"
    assert original.stat().st_mode & 0o777 == 0o751

    original.unlink()
    original.symlink_to("busybox-of-plugins")
    target.install("--as-reference")
    ask_version(original)
    target.uninstall()
    assert target.list_files() == {"bindir/bridge": "busybox-of-plugins"}


def test_newer_original_is_not_overwritten(target: Target) -> None:
    """An upgrade of the reference's package puts its files back in the links' place."""
    target.bindir.mkdir(parents=True)
    original = target.bindir / "bridge"
    original.write_text("old")
    target.install("--as-reference")
    original.unlink()
    original.write_text("new")
    target.uninstall()
    assert target.list_files() == {"bindir/bridge": ""}
    assert original.read_text() == "new"


@pytest.mark.long
def test_conflist_is_the_users(target: Target) -> None:
    target.install("--conflist", "10-nat", "--conflist", "30-layer2")
    network = target.confdir / "10-nat.conflist"
    assert network.read_text() == (ROOT / "conf" / "10-nat.conflist").read_text()
    network.write_text("mine")
    assert "already exists" in target.install("--conflist", "10-nat")
    target.uninstall()
    assert set(target.list_files()) == {"confdir/10-nat.conflist", "confdir/30-layer2.conflist"}
    assert network.read_text() == "mine"


@pytest.mark.long
def test_upgrade_while_calls_go_on(target: Target, other: Path) -> None:
    target.install()
    with calling(lambda: ask_version(target.bindir / "shibafu-bridge")):
        for turn in range(6):
            target.install(source=other if turn % 2 == 0 else target.built)


@pytest.mark.long
def test_a_version_stays_as_long_as_it_is_used(target: Target, other: Path, tmp_path: Path) -> None:
    target.install()
    (first,) = target.list_versions()
    env = {"CNI_COMMAND": "ADD", "CNI_CONTAINERID": "c", "CNI_NETNS": "/n", "CNI_IFNAME": "e"}
    env["CNI_PATH"] = "/"
    plugin = target.bindir / "shibafu-bridge"
    with subprocess.Popen([plugin], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as waiting:
        assert waiting.stdin is not None
        running = Path(f"/proc/{waiting.pid}/exe")
        while running.resolve().name != "python3":
            time.sleep(0.01)
        target.install(source=other)
        third = shutil.copytree(other, tmp_path / "third")
        (third / "NEWS").write_text("newer still")
        target.install(source=third)
        # Two upgrades later; the process still loads modules from its version.
        assert first in target.list_versions()
        waiting.stdin.close()
        assert b'"code": 6' in (waiting.stdout.read() if waiting.stdout else b"")
        waiting.wait(60)
    target.install(source=other)
    assert first not in target.list_versions()
    assert len(target.list_versions()) == 2


def test_damage_is_repaired(target: Target) -> None:
    target.install()
    bundle = target.prefix / "current" / "_internal" / "shibafu.bundle"
    bundle.write_bytes(bundle.read_bytes()[:1000])
    target.install()
    ask_version(target.bindir / "shibafu-bridge")


def test_damaged_executable_is_repaired(target: Target) -> None:
    target.install()
    program = target.prefix / "current" / "shibafu-bridge"
    program.write_bytes(program.read_bytes().replace(b"bridge", b"ditch"))
    target.install()
    ask_version(target.bindir / "shibafu-bridge")


def read_home(program: Path) -> Path:
    """Return the folder that a launcher takes for its own."""
    return Path(re.findall(rb"(/[^\0\n]*)\nshibafu-[a-z]+\n", program.read_bytes())[0].decode())


@pytest.mark.long
@pytest.mark.parametrize("program", ["shibafu-ipam", "shibafu-monitor"])
def test_executable_of_another_place_is_damage(target: Target, program: str) -> None:
    target.install()
    path = target.prefix / "current" / program
    path.write_bytes(path.read_bytes().replace(b"/versions/", b"/visions_/"))
    target.install()
    assert b"/visions_/" not in (target.prefix / "current" / program).read_bytes()
    ask_version(target.bindir / "shibafu-ipam")


@pytest.mark.long
def test_moved_installation(target: Target) -> None:
    """The executables are those of the prefix, whatever was there before, and from wherever it came."""
    target.install()
    target.prefix.rename(target.root / "moved")
    target.prefix = target.root / "moved"
    target.install("--prefix", target.prefix)
    ask_version(target.bindir / "shibafu-bridge")
    assert read_home(target.bindir / "shibafu-bridge").is_relative_to(target.prefix)


def test_prefix_by_a_link(target: Target, tmp_path: Path) -> None:
    """What the link leads to has no part in the executables' first line, which allows no space."""
    (tmp_path / "my disk").mkdir()
    target.root.mkdir()
    target.prefix.symlink_to(tmp_path / "my disk")
    target.install()
    ask_version(target.bindir / "shibafu-bridge")
    target.install()
    assert len(target.list_versions()) == 1


def test_executables_of_the_time_before(target: Target, other: Path) -> None:
    """They had nothing that executables of another place can be made of."""
    shutil.rmtree(other / "_internal" / "cold")
    assert "build it again" in target.install(source=other, status=1)
    assert not (target.prefix / "current").exists()


def test_read_only_source(target: Target, other: Path) -> None:
    for program in other.glob("shibafu-*"):
        program.chmod(0o555)
    target.install(source=other)
    ask_version(target.bindir / "shibafu-bridge")
    assert (target.bindir / "shibafu-bridge").stat().st_mode & 0o777 == 0o755


def test_it_runs_by_itself(target: Target, tmp_path: Path) -> None:
    """What it was installed from may go."""
    source = shutil.copytree(target.built, tmp_path / "source")
    target.install(source=source)
    shutil.rmtree(source)
    for name in PROGRAMS:
        assert read_home(target.bindir / name).is_relative_to(target.prefix)
        ask_version(target.bindir / name)


@pytest.mark.long
def test_half_an_installation_is_completed(target: Target) -> None:
    """Copying was interrupted, or switching was."""
    target.install()
    versions = target.prefix / "versions"
    shutil.copytree(target.built / "_internal", versions / ".new-Xy12Zz")
    (target.prefix / "current").unlink()
    target.install()
    ask_version(target.bindir / "shibafu-bridge")
    assert len(target.list_versions()) == 1


@pytest.mark.long
def test_other_root(tmp_path: Path, built: Path) -> None:
    """For packagers: below DESTDIR, and links that are right without it; also through links in there."""
    (tmp_path / "usr").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "usr/lib").symlink_to(tmp_path / "elsewhere")
    run_script("install.sh", "--from", built, destdir=tmp_path)
    link = tmp_path / "opt/cni/bin/shibafu-bridge"
    assert str(link.readlink()) == "/usr/lib/shibafu/current/shibafu-bridge"
    assert str(tmp_path) not in (tmp_path / "usr/lib/shibafu/installed").read_text()
    program = tmp_path / "usr/lib/shibafu/current/shibafu-bridge"
    home = read_home(program)
    assert str(home).startswith("/usr/lib/shibafu/versions/0.")
    internal = tmp_path / home.relative_to("/") / "_internal"
    ask_version(internal / "python3", "-ISXutf8", internal / "cold/shibafu-bridge", program)
    assert str((tmp_path / "usr/sbin/shibafu").readlink()) == "/usr/lib/shibafu/current/shibafu"
    assert (tmp_path / "usr/share/bash-completion/completions/shibafu").is_symlink()
    unit = (tmp_path / "usr/lib/systemd/system/shibafu-engine.service").read_text()
    assert "\nExecStart=/usr/lib/shibafu/current/shibafu engine run\n" in unit
    optional = {
        word: tmp_path / f"usr/lib/systemd/system/shibafu-{word}.service" for word in ("watch", "overlay")
    }
    assert not any(path.exists() for path in optional.values())
    for options in ([f"--with-{word}" for word in optional], []):
        run_script("install.sh", "--from", built, *options, destdir=tmp_path)
        for word, path in optional.items():
            assert f"\nExecStart=/usr/lib/shibafu/current/shibafu {word} run\n" in path.read_text()
            path.write_text(path.read_text() + "# of an earlier version\n")
    run_script("install.sh", "--from", built, destdir=tmp_path)
    assert all("earlier version" not in path.read_text() for path in optional.values())
    run_script("uninstall.sh", destdir=tmp_path)
    (tmp_path / "usr/lib").unlink()
    assert [path for path in tmp_path.rglob("*") if not path.is_dir() or path.is_symlink()] == []


def test_root_as_other_root(target: Target) -> None:
    run_script("install.sh", "--from", target.built, *target.list_options(), destdir="/")
    ask_version(target.bindir / "shibafu-bridge")


def test_refusals(target: Target) -> None:
    assert "Usage" in target.install("--nonsense", status=2)
    assert "10-nat" in target.install("--conflist", "no-such", status=1)
    assert "absolute" in target.install("--prefix", "relative", status=1)
    assert "has a space" in target.install("--prefix", "/opt/my plugins", status=1)
    assert "too long" in target.install("--prefix", f"/opt/{'x' * 200}", status=1)
    (target.bindir / "shibafu-bridge").mkdir(parents=True)
    assert "is a directory" in target.install(status=1)
    assert "nothing" in run_script("uninstall.sh", "--prefix", target.root / "elsewhere", status=1)
