"""Each folder of executables has one engine, which leaves nothing where it listened."""

import subprocess
from pathlib import Path

import pytest

from shibafu.engine.location import EngineLocation
from support.engine import Engine, copy_executables, is_listening
from support.ipam_calls import Ipam
from support.waiting import wait_for

pytestmark = pytest.mark.root

AT_ONCE = 6


def list_files(home: Path) -> list[str]:
    """Return what is there of a folder's engine."""
    place = EngineLocation(str(home))
    return sorted(path.suffix for path in Path(place.directory).glob(f"{place.name}.*"))


def test_one_of_many_that_are_started_at_once(own_home: Path, tmp_path: Path) -> None:
    ipam = Ipam(own_home / "shibafu-ipam", tmp_path / "networks")
    for _ in range(3):
        started = [
            subprocess.Popen([own_home / "shibafu-engine", "--untrained"], stderr=subprocess.PIPE, text=True)
            for _ in range(AT_ONCE)
        ]
        wait_for(lambda: sum(one.poll() is None for one in started) == 1)  # noqa: B023 - called here
        wait_for(lambda: is_listening(EngineLocation(str(own_home)).status))
        assert list_files(own_home) == [".lock", ".sock", ".status"]
        ipam.run()
        ipam.run(env={"CNI_COMMAND": "DEL"})
        for one in started:
            one.terminate()
        said = [one.communicate(timeout=60)[1] for one in started]
        running = f"shibafu-engine: the engine of {own_home} is running already\n"
        assert sorted(said) == ["", *[running] * (AT_ONCE - 1)]
        assert list_files(own_home) == []


def test_folders_beside_each_other(built: Path, own_engine: Engine, tmp_path: Path) -> None:
    """Calls go to the engine of their own executables, or to none."""
    other = copy_executables(built, tmp_path / "other")
    with own_engine.expect():
        Ipam(other / "shibafu-ipam", tmp_path / "cold").add()
        with Engine(other) as beside, beside.expect("served shibafu-ipam ADD"):
            Ipam(other / "shibafu-ipam", tmp_path / "networks").add()


@pytest.mark.parametrize("is_trained", [False, True])
def test_nothing_is_left(own_home: Path, is_trained: bool) -> None:
    with Engine(own_home, is_trained=is_trained) as engine:
        assert engine.read_status()["trained"] == is_trained
        engine.process.terminate()
        assert engine.process.wait(60) == 0
        assert list_files(own_home) == []
