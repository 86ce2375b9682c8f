"""Endpoints with names, on a host whose server of names does not answer."""

import json
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from netns.overlay_lab import run_command
from support.namespaces import Namespace

pytestmark = pytest.mark.long


@pytest.fixture
def silent(host: Namespace) -> Iterator[Namespace]:
    """A host whose server of names takes requests, and does nothing; see ip-netns(8) for the file."""
    directory = Path("/etc/netns") / host.name
    directory.mkdir(parents=True)
    file = directory / "resolv.conf"
    file.write_text("nameserver 127.0.0.1\nsearch one.example two.example\n")
    with host.enter(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 53))
        yield host
    file.unlink()
    directory.rmdir()
    with suppress(OSError):
        directory.parent.rmdir()  # others have theirs there, too


def test_the_command_does_not_wait_for_names(silent: Namespace, tmp_path: Path) -> None:
    config = tmp_path / "overlay.yaml"
    endpoints = [f"http://etcd-{number}:2379" for number in range(3)]
    config.write_text(json.dumps({"networks": [{"name": "blue", "endpoints": endpoints}]}))
    began = time.monotonic()
    status, said = run_command(silent, "ls", "--config", str(config))
    assert status == 1
    assert "the name etcd-2 has not been resolved within 3 seconds" in said
    assert "correct the name" in said
    status, said = run_command(silent, "doctor", "--config", str(config))
    assert [f"the name etcd-{number} has" in said for number in range(3)] == [True] * 3
    # Each name alone would take twice five seconds.
    assert time.monotonic() - began < 12
