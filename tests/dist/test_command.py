"""The command `shibafu` as an executable: whatever there is around it, and with networks that it makes."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from dist.executables import run_command
from shibafu.cli.completion import SHELLS, find_positions
from shibafu.cli.parser import build_parser
from support.command import CommandLine
from support.namespaces import Namespace
from support.suite import Suite

POSITIONS = [position.words for position in find_positions(build_parser())]
FILES = {"bash": "shibafu", "zsh": "_shibafu", "fish": "shibafu.fish"}
SAVE = """#!/bin/sh
cat /proc/$$/environ >"{dump}"
"""


@pytest.mark.parametrize("words", POSITIONS)
def test_help(built: Path, words: str) -> None:
    text = run_command(built / "shibafu", *words.split(), "--help")
    assert text.startswith(f"usage: shibafu {words}".rstrip())


def test_link_elsewhere(built: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(built / "shibafu")
    (tmp_path / "ü b").symlink_to("link")
    assert run_command(tmp_path / "ü b", "--version") == run_command(built / "shibafu", "--version")


def test_variables_of_python_change_nothing(built: Path, tmp_path: Path) -> None:
    for name in ("shibafu", "yaml", "argparse"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('imported')")
    run_command(built / "shibafu", "network", "ls", "--help", PYTHONPATH=str(tmp_path), PYTHONHOME="/nowhere")


@pytest.mark.parametrize("locale", [{"LC_ALL": "POSIX"}, {"LANG": "tr_TR.ISO-8859-9"}], ids=str)
def test_locale_changes_nothing(built: Path, tmp_path: Path, locale: dict[str, str]) -> None:
    """An error that repeats what it was given, in UTF-8."""
    done = subprocess.run(
        [built / "shibafu", "network", "apply", "--dry-run", "-f", tmp_path / "netzwörk.yaml"],
        env=locale,
        capture_output=True,
        check=False,
        timeout=300,
    )
    assert "netzwörk.yaml: no such file" in done.stderr.decode()
    assert done.returncode == 1


def test_etcd_is_asked_without_a_warning(built: Path, tmp_path: Path) -> None:
    """What etcd3gw is made of is in the executable."""
    config = tmp_path / "overlay.yaml"
    config.write_text("networks: [{name: blue, endpoints: [http://127.0.0.1:9]}]")
    done = subprocess.run(
        [built / "shibafu", "overlay", "ls", "--config", config],
        env={},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    reason = "network blue: etcd at http://127.0.0.1:9 cannot be reached: connection refused"
    failure, advice = done.stderr.splitlines()
    assert failure == f"shibafu: {reason}"
    assert advice.strip().startswith("start etcd there")
    assert done.returncode == 1


@pytest.mark.parametrize("shell", SHELLS)
def test_completions_are_those_of_this_command(built: Path, shell: str) -> None:
    printed = run_command(built / "shibafu", "completion", shell)
    assert (built / "completions" / FILES[shell]).read_text() == printed


@pytest.mark.root
def test_read_only_folder(built: Path, tmp_path: Path) -> None:
    mount = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && ! touch "$0/file" 2>/dev/null'
    run = f'{mount} && exec "$0/shibafu" network ls --conf-dir {tmp_path}'
    told = run_command("/usr/bin/unshare", "--mount", "/bin/sh", "-c", run, built, PATH="/usr/bin:/bin")
    assert told.split() == [
        "NETWORK",
        "BRIDGE",
        "SUBNETS",
        "CONTAINERS",
        "USED",
        "FREE",
        "WATCHED",
        "PLUGINS",
    ]


@pytest.fixture
def shibafu(built: Path, tmp_path: Path) -> Iterator[CommandLine]:
    directory = tmp_path / "cni-bin"
    directory.mkdir()
    with (
        Namespace("host") as host,
        CommandLine(Suite.of_executables(directory, built), host, tmp_path) as command,
    ):
        yield command


DECLARED = """\
networks:
  blue:
    subnets: [172.20.7.0/24]
    mtu: 1400
"""


@pytest.mark.root
def test_a_network_from_its_declaration_to_its_end(shibafu: CommandLine) -> None:
    """Every library is used: PyYAML, pyroute2, filelock; and plugins beside it are called."""
    shibafu("network apply -f -", stdin=DECLARED)
    assert "networks:\n  blue:\n" in shibafu("network export blue")
    with Namespace("web") as web:
        shibafu(f"network connect blue {web.name}")
        _, row = shibafu("network ls").splitlines()
        shown = ["blue", "br-blue", "(up)", "172.20.7.0/24", "1", "1", "252", "no", "shibafu-bridge"]
        assert row.split() == shown
        picture = shibafu("network inspect blue")
        assert "br-blue  bridge, up" in picture
        assert "mtu 1400" in picture
        assert f"{web.name}  172.20.7.2/24  up" in picture
        assert "MASQUERADE" in picture
        shibafu("ipam reserve blue 172.20.7.9")
        assert "172.20.7.9" in shibafu("ipam ls blue")
        shibafu("network check blue")
        assert shibafu("network repair --dry-run blue") == "nothing to repair\n"
        shibafu(f"network disconnect blue {web.name}")
    # Whose subnet is computed of a file in ASCII.
    shibafu("network create green --ipv6")
    shibafu("network rm blue green --force")
    assert shibafu("network ls --quiet") == ""


@pytest.mark.root
@pytest.mark.parametrize(
    "extra",
    [
        {},
        {"LD_LIBRARY_PATH": "/opt/lib:/nonexistent"},
        {
            "_PYI_ARCHIVE_FILE": "/nonexistent",
            "_PYI_APPLICATION_HOME_DIR": "/",
            "_PYI_PARENT_PROCESS_LEVEL": "1",
        },
        {"UNICODE": "名"},
    ],
    ids=str,
)
def test_environment_of_its_children(shibafu: CommandLine, tmp_path: Path, extra: dict[str, str]) -> None:
    """What the bootloader puts into its environment stays there; what is there before changes nothing."""
    dump = tmp_path / "environ"
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "iptables-save").write_text(SAVE.format(dump=dump))
    (programs / "iptables-save").chmod(0o755)
    shibafu.env |= {"PATH": f"{programs}:{os.environ['PATH']}"} | extra
    shibafu("network create blue --subnet 10.66.0.0/24")
    shibafu("network inspect blue")
    seen = dict(line.split("=", 1) for line in dump.read_text().split("\0") if line)
    wanted = {name: value for name, value in shibafu.env.items() if not name.startswith("_PYI_")}
    # The shells in between have added theirs.
    assert {name: value for name, value in seen.items() if name not in ("PWD", "OLDPWD", "_")} == wanted
