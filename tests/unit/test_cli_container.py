"""What the options of `shibafu run` and its like mean."""

import json
import os
import subprocess
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import pytest

from shibafu.cli.container.options import calc_specification, parse_volume
from shibafu.cli.container.ps import describe_status, format_age
from shibafu.cli.parser import build_parser, run
from shibafu.container import container_record
from shibafu.container.container_record import ContainerRecord, Status
from shibafu.container.errors import ContainerError
from shibafu.container.image import Defaults, ImageStore
from shibafu.container.specification import Specification, Volume


@pytest.fixture
def images(tmp_path: Path) -> ImageStore:
    store = ImageStore(tmp_path / "images")
    with store.making("alpine", "test") as making:
        making.rootfs.mkdir()
        making.defaults = Defaults(
            entrypoint=["/init"], command=["serve"], env=["A=1", "B=2"], workdir="/srv"
        )
    return store


def parse(images: ImageStore, *words: str, is_terminal: bool = False) -> Specification:
    spec, unpack = calc_specification(build_parser().parse_args(["run", *words]), images, is_terminal)
    assert unpack is None
    return spec


def test_the_image_says_what_nobody_else_does(images: ImageStore) -> None:
    spec = parse(images, "--name", "web1", "alpine")
    assert spec.argv == ["/init", "serve"]
    assert {"A=1", "B=2"} <= set(spec.env)
    assert any(variable.startswith("PATH=") for variable in spec.env)
    assert (spec.workdir, spec.uid, spec.hostname, spec.networks) == ("/srv", 0, "web1", ["bridge"])


def test_options_after_the_image_are_the_programs(images: ImageStore) -> None:
    spec = parse(images, "--rm", "alpine", "ping", "-c1", "--name", "x", "-d")
    assert spec.argv == ["/init", "ping", "-c1", "--name", "x", "-d"]
    assert spec.is_removed
    assert parse(images, "alpine", "--", "ls").argv == ["/init", "ls"]


def test_a_name_that_nobody_chose_is_random(images: ImageStore) -> None:
    one, other = parse(images, "alpine"), parse(images, "alpine")
    assert one.name != other.name
    assert not one.is_named


def test_the_environment(images: ImageStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINE", "7")
    monkeypatch.delenv("NOBODYS", raising=False)
    env = parse(images, "-e", "A=9", "-e", "MINE", "-e", "NOBODYS", "-e", "E=", "alpine").env
    assert {"A=9", "MINE=7", "E="} <= set(env)
    assert not any(variable.startswith("NOBODYS") for variable in env)
    with pytest.raises(ContainerError, match="invalid variable"):
        parse(images, "-e", "=x", "alpine")


def test_terminals(images: ImageStore) -> None:
    assert parse(images, "-it", "alpine", is_terminal=True).has_terminal
    for words in (["-t", "alpine"], ["-dt", "alpine"]):
        with pytest.raises(ContainerError, match="terminal"):
            parse(images, *words)


def test_images_are_names_directories_or_archives(images: ImageStore, tmp_path: Path) -> None:
    assert parse(images, str(tmp_path)).rootfs == str(tmp_path)
    (tmp_path / "root.tar").write_bytes(b"")
    arguments = build_parser().parse_args(["run", str(tmp_path / "root.tar"), "ls"])
    _, unpack = calc_specification(arguments, images, False)
    assert unpack is not None
    with pytest.raises(ContainerError, match="there is no image, directory or archive debian") as caught:
        parse(images, "debian")
    assert caught.value.hint == "existing images: alpine"


def test_volumes(tmp_path: Path) -> None:
    assert parse_volume(f"{tmp_path}:/mnt") == Volume(str(tmp_path), "/mnt")
    assert parse_volume(f"{tmp_path}:/mnt:ro") == Volume(str(tmp_path), "/mnt", is_read_only=True)
    for text in (str(tmp_path), f"{tmp_path}:mnt", f"{tmp_path}:/mnt:xx", ":/mnt"):
        with pytest.raises(ContainerError, match="invalid volume"):
            parse_volume(text)
    with pytest.raises(ContainerError, match="there is no file or directory"):
        parse_volume(f"{tmp_path}/nothing:/mnt")


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (Status("running", since=40), "up 1 min"),
        (Status("exited", exit_code=7, since=95), "exited (7) 5 s ago"),
        (Status("killed", since=1), "killed"),
    ],
)
def test_states_in_words(status: Status, text: str) -> None:
    assert describe_status(status, 100) == text


@pytest.mark.parametrize(("seconds", "text"), [(0.5, "0 s"), (59, "59 s"), (7200, "2 h"), (200000, "2 d")])
def test_ages(seconds: float, text: str) -> None:
    assert format_age(seconds) == text


class TestRecord:
    def test_a_lock_says_that_it_is_running(self, tmp_path: Path) -> None:
        record, other = ContainerRecord(tmp_path), ContainerRecord(tmp_path)
        assert record.calc_status().state == "created"
        lock = record.try_lock()
        assert lock is not None
        assert other.try_lock() is None
        assert other.calc_status().state == "running"
        os.close(lock)
        assert not other.is_held()

    def test_its_end_is_remembered(self, tmp_path: Path) -> None:
        (tmp_path / "pid").write_text("1")  # alive, but not by runc's word
        assert ContainerRecord(tmp_path).calc_status().state == "killed"
        (tmp_path / "exit").write_text('{"exitCode": 3, "finishedAt": 5}')
        assert ContainerRecord(tmp_path).calc_status() == Status("exited", exit_code=3, since=5)

    def test_a_process_that_nobody_reaps_has_ended(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As under a first process of a container that is no init, with the monitor killed."""
        monkeypatch.setattr(container_record, "ROOT", str(tmp_path / "runc"))
        bundle, state = tmp_path / "web", tmp_path / "runc" / "web" / "state.json"
        bundle.mkdir()
        state.parent.mkdir(parents=True)
        state.write_text(json.dumps({"config": {"labels": [f"bundle={bundle}"]}}))
        with subprocess.Popen(["sleep", "60"]) as process:
            (bundle / "pid").write_text(str(process.pid))
            assert ContainerRecord(bundle).calc_status().state == "running"
            process.kill()
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
            assert ContainerRecord(bundle).calc_status().state == "killed"

    def test_one_that_is_gone_has_no_lock(self, tmp_path: Path) -> None:
        assert ContainerRecord(tmp_path / "gone").try_lock() is None
        assert not ContainerRecord(tmp_path / "gone").is_held()

    @pytest.mark.root
    @pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to("/nonexistent")])
    @pytest.mark.parametrize("name", ["lock", "pid", "exit", "container.json", "log"])
    def test_what_is_no_file_is_neither_waited_for_nor_hidden(
        self, tmp_path: Path, name: str, make: Callable[[Path], object]
    ) -> None:
        directory = tmp_path / "containers" / "odd"
        directory.mkdir(parents=True)
        (directory / "container.json").write_text("{}")
        (directory / name).unlink(missing_ok=True)
        make(directory / name)
        record = ContainerRecord(directory)
        record.calc_status()
        with pytest.raises(ContainerError, match="container odd is damaged"):
            record.load()
        options = ("--data-dir", str(tmp_path), "--cache-dir", str(tmp_path / "results"))
        for line, status in (("ps -a", 0), ("logs odd", 1), ("rm --force odd", 0)):
            out = StringIO()
            assert run([*line.split(), *options], out, out) == status, out.getvalue()
        assert not directory.exists()
