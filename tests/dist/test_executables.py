"""The executables work wherever they are, whatever they are called, and whatever the environment is."""

import shutil
import signal
import subprocess
from json import loads
from pathlib import Path

import pytest

from dist.executables import PROGRAMS, ask_version, run_plugin
from support.built import ROOT
from support.waiting import wait_for

DEL = {"CNI_COMMAND": "DEL", "CNI_CONTAINERID": "ü名", "CNI_IFNAME": "eth0", "CNI_PATH": "/bin"}


@pytest.mark.parametrize("program", PROGRAMS)
def test_version(built: Path, program: str) -> None:
    ask_version(built / program)


@pytest.mark.parametrize("name", ["bridge", "host-local", "a b", "ブリッジ"])
@pytest.mark.parametrize("program", PROGRAMS)
def test_link_of_any_name_elsewhere(built: Path, tmp_path: Path, program: str, name: str) -> None:
    (tmp_path / "link").symlink_to(built / program)
    (tmp_path / name).symlink_to("link")
    assert ask_version(tmp_path / name) == ask_version(built / program)


@pytest.mark.parametrize("program", PROGRAMS)
def test_copy_of_any_name_elsewhere(built: Path, tmp_path: Path, program: str) -> None:
    shutil.copy(built / program, tmp_path / "köpie")
    assert ask_version(tmp_path / "köpie") == ask_version(built / program)


@pytest.mark.root
def test_folder_elsewhere(built: Path, tmp_path: Path) -> None:
    """A copy of the folder, made one by what install.sh does to it, needs nothing of the original."""
    copy = shutil.copytree(built, tmp_path / "köpie")
    make = f'. "{ROOT}/packaging/install/versions.sh" && write_programs "$0" "$0"'
    run = f'mount -t tmpfs tmpfs "{built}" && {make} && exec "$0/shibafu-bridge"'
    ask_version("/usr/bin/unshare", "--mount", "/bin/sh", "-c", run, copy, PATH="/usr/bin:/bin")


@pytest.mark.root
def test_without_proc(built: Path) -> None:
    run = 'mount -t tmpfs tmpfs /proc && exec "$0"'
    program = built / "shibafu-bridge"
    ask_version("/usr/bin/unshare", "--mount", "/bin/sh", "-c", run, program, PATH="/usr/bin:/bin")


@pytest.mark.parametrize("standard", [0, 1, 2])
def test_closed_descriptors(built: Path, standard: int) -> None:
    """No file that the interpreter opens, such as the executable, is taken for what the caller has closed."""
    done = subprocess.run(
        ["/bin/sh", "-c", f'exec "$0" {standard}<&-', built / "shibafu-bridge"],
        env={"CNI_COMMAND": "VERSION"},
        input=b'{"cniVersion": "1.0.0"}',
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert b"Traceback" not in done.stdout + done.stderr
    if standard != 1:
        assert "supportedVersions" in loads(done.stdout)


@pytest.mark.usefixtures("is_cold")
def test_an_interruption_ends_a_plugin_without_a_word(built: Path) -> None:
    """It waits for its configuration."""
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [built / "shibafu-bridge"], env=DEL, stdin=pipe, stdout=pipe, stderr=pipe
    ) as process:
        place = Path(f"/proc/{process.pid}")
        wait_for(
            lambda: (
                (place / "exe").readlink().name == "python3" and "State:\tS" in (place / "status").read_text()
            )
        )
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (-signal.SIGINT, b"", b"")


def test_the_callers_directory_is_not_imported_from(built: Path, tmp_path: Path) -> None:
    for name in ("entry", "encodings", "posix", "shibafu", "site", "sitecustomize"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('imported')")
    shutil.copy(built / "shibafu-bridge", tmp_path)
    done = subprocess.run(
        ["./shibafu-bridge"], cwd=tmp_path, env={"CNI_COMMAND": "VERSION"}, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.root
def test_read_only_folder(built: Path) -> None:
    mount = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && ! touch "$0/file" 2>/dev/null'
    run = f'{mount} && exec "$0/shibafu-bridge"'
    ask_version("/usr/bin/unshare", "--mount", "/bin/sh", "-c", run, built, PATH="/usr/bin:/bin")


LOCALES = [
    {"LANG": "C"},
    {"LC_ALL": "POSIX"},
    {"LANG": "tr_TR.ISO-8859-9"},
    {"LC_ALL": "de_DE.UTF-8"},
    {"LC_ALL": "no_SUCH.locale"},
]


@pytest.mark.parametrize("locale", LOCALES, ids=str)
def test_locale_changes_nothing(built: Path, locale: dict[str, str]) -> None:
    """An error that repeats what it was given, in UTF-8."""
    config = b'{"cniVersion": "1.0.0", "name": "net", "type": "bridge"}'
    usual = run_plugin(built / "shibafu-bridge", stdin=config, **DEL)
    assert usual.returncode == 1
    assert "ü名" in loads(usual.stdout.decode())["details"]
    assert run_plugin(built / "shibafu-bridge", stdin=config, **DEL, **locale).stdout == usual.stdout


def test_variables_of_python_change_nothing(built: Path, tmp_path: Path) -> None:
    (tmp_path / "shibafu.py").write_text("raise SystemExit('imported')")
    (tmp_path / "struct.py").write_text("raise SystemExit('imported')")
    ask_version(
        built / "shibafu-bridge",
        PYTHONPATH=str(tmp_path),
        PYTHONHOME="/nonexistent",
        PYTHONVERBOSE="1",
        PYTHONINSPECT="1",
        PYTHONDEVMODE="1",
        PYTHONCOERCECLOCALE="0",
        PYTHONUTF8="0",
        PYTHONPLATLIBDIR=str(tmp_path),
    )


def test_exit_status_of_an_error(built: Path) -> None:
    done = run_plugin(built / "shibafu-bridge", stdin=b"{}", CNI_COMMAND="ADD")
    assert done.returncode == 1
    assert loads(done.stdout)["code"] == 4
