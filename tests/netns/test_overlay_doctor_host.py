"""`shibafu overlay doctor`: what it finds at its own host, its clock and wrong checksums."""

import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate

import pytest

from netns.overlay_lab import OverlayLab, wait_until

pytestmark = pytest.mark.long
# A way to etcd by which its answers bear another time; it says when it listens.
PROXY = r"""
import re, socket, sys, threading

def copy(source, target, date):
    while data := source.recv(65536):
        target.sendall(re.sub(rb"(?<=\nDate: )[^\r]+", date, data) if date else data)
    target.shutdown(socket.SHUT_WR)

listener = socket.create_server(("127.0.0.1", 2379))
print("ready", flush=True)
while True:
    near, _ = listener.accept()
    far = socket.create_connection((sys.argv[1], 2379))
    threading.Thread(target=copy, args=(near, far, b""), daemon=True).start()
    threading.Thread(target=copy, args=(far, near, sys.argv[2].encode()), daemon=True).start()
"""


@pytest.mark.parametrize(("seconds", "said"), [(3600, "behind"), (-3600, "ahead of"), (0, "")])
def test_the_clock_differs_from_that_of_etcd(lab: OverlayLab, seconds: int, said: str) -> None:
    first, second = lab.hosts
    second.configure(endpoints=["http://127.0.0.1:2379"])
    python = ["ip", "netns", "exec", second.namespace.name, sys.executable]
    date = formatdate(time.time() + seconds, usegmt=True)
    with subprocess.Popen([*python, "-c", PROXY, first.address, date], stdout=subprocess.PIPE) as proxy:
        assert proxy.stdout is not None
        assert proxy.stdout.readline()
        found = second.diagnose()
        proxy.kill()
    assert list(found) == (["clock and that of etcd at http://127.0.0.1:2379"] if said else [])
    for trouble in found.values():
        assert trouble.endswith(f" seconds {said} that of etcd")


def test_a_clock_that_cannot_be_read_is_not_said_to_be_right(lab: OverlayLab) -> None:
    first, second = lab.hosts
    second.configure(endpoints=["http://127.0.0.1:2379"])
    python = ["ip", "netns", "exec", second.namespace.name, sys.executable]
    with subprocess.Popen([*python, "-c", PROXY, first.address, "today"], stdout=subprocess.PIPE) as proxy:
        assert proxy.stdout is not None
        assert proxy.stdout.readline()
        said = second.command("doctor")
        proxy.kill()
    assert "etcd at http://127.0.0.1:2379: ok" in said
    assert "clock" not in said


@contextmanager
def sending_wrong_checksums(lab: OverlayLab) -> Iterator[None]:
    """Have the first host send packets of the VXLAN with wrong checksums to the second one."""
    first, second = lab.hosts
    ended = threading.Event()
    with first.namespace.enter():
        sock = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP)

    def send() -> None:
        # Ports, length and checksum (RFC 768), and the header of a VXLAN.
        packet = struct.pack("!HHHHII", 5000, 8472, 16, 0xDEAD, 0x08000000, 1 << 8)
        while not ended.wait(0.02):
            sock.sendto(packet, (second.address, 0))

    with sock:
        sender = threading.Thread(target=send)
        sender.start()
        try:
            yield
        finally:
            ended.set()
            sender.join()


def test_wrong_checksums_arrive(lab: OverlayLab) -> None:
    with sending_wrong_checksums(lab):
        ((check, trouble),) = lab.hosts[1].diagnose().items()
    assert check == "checksums"
    assert "packets with wrong checksums arrived in" in trouble
    assert lab.hosts[1].diagnose() == {}


def test_the_agent_does_not_know_its_configuration(lab: OverlayLab) -> None:
    lab.hosts[1].configure(txChecksum=False)
    assert lab.hosts[1].diagnose() == {"checksums": "flannel.1 does not do what txChecksum says"}


def test_an_address_that_no_link_has_is_no_trouble(lab: OverlayLab) -> None:
    first, second = lab.hosts
    second.stop()
    second.configure(publicIP="203.0.113.9")
    # What a router does, which has it.
    first.namespace.run("ip", "route", "add", "203.0.113.9", "via", second.address)
    rule = f"type nat hook prerouting priority -100; ip daddr 203.0.113.9 dnat to {second.address};"
    second.namespace.run("nft", f"table ip router {{ chain c {{ {rule} }}; }}")
    second.start()
    note = "publicIP 203.0.113.9 is on no link of this host"
    wait_until(lambda: note in second.read_log(), "the note")
    wait_until(lambda: second.read_state()["publicIP"] == "203.0.113.9", "the address")
    wait_until(lambda: "host 203.0.113.9" in first.read_log(), "the other host")
    said = second.command("doctor")
    assert "link: ok" in said
    assert f"    {note}" in said
    assert second.read_log().count(note) == 1
