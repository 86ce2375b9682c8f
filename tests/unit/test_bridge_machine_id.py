"""What the host's side of a network is computed from."""

from pathlib import Path

import pytest

from shibafu.bridge import attachment
from shibafu.lean import machine_id


@pytest.mark.parametrize("content", ["", "\n", "uninitialized\n", "0123", "x" * 32, None])
def test_machines_without_an_identity_do_not_share_one(
    content: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "machine-id"
    if content is not None:
        path.write_text(content)
    monkeypatch.setattr(machine_id, "_MACHINE_ID", str(path))
    assert len({attachment.calc_bridge_mac("br0") for _ in range(4)}) == 4
    assert machine_id.read_machine_id() == ""


def test_an_identity_that_cannot_be_read_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine_id, "_MACHINE_ID", str(tmp_path))  # a directory
    assert machine_id.read_machine_id() == ""


def test_a_machine_s_identity_is_that_of_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "machine-id"
    path.write_text("0123456789abcdef0123456789abcdef\n")
    monkeypatch.setattr(machine_id, "_MACHINE_ID", str(path))
    assert machine_id.read_machine_id() == "0123456789abcdef0123456789abcdef"
    # As earlier releases computed it: bridges that they have made are known by it.
    assert attachment.calc_bridge_mac("br0").hex(":") == "02:ed:64:3a:7c:11"
