"""This host's own subnet: what CNI plugins are told of it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from netns.overlay_lab import OverlayLab, wait_until

pytestmark = pytest.mark.long


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[OverlayLab]:
    with OverlayLab(tmp_path, 2) as made:
        made.start()
        yield made


def test_a_damaged_subnet_file_is_written_again(lab: OverlayLab) -> None:
    second = lab.hosts[1]
    content = second.subnet_file.read_text()
    for damage in ("FLANNEL_MTU=many\n", "\xff\n"):
        second.subnet_file.write_text(damage)
        second.namespace.run("ip", "link", "set", "flannel.1", "down")
        wait_until(lambda: second.subnet_file.read_text() == content, "the file")
    assert "is missing FLANNEL_NETWORK" in second.read_log()
    second.subnet_file.unlink()
    second.subnet_file.mkdir()
    second.namespace.run("ip", "link", "set", "flannel.1", "down")
    wait_until(lambda: "Is a directory" in second.read_state()["trouble"], "the trouble")
    assert "is a directory, not a file" in second.read_log()
    second.subnet_file.rmdir()
    second.namespace.run("ip", "link", "set", "flannel.1", "down")
    wait_until(second.subnet_file.is_file, "the file")
    assert second.subnet_file.read_text() == content
