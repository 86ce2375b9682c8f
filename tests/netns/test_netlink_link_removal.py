"""Deleting links without waiting: that they are gone, and that the kernel was not waited for."""

import os
import select
import signal
import socket
import subprocess
import sys
import time
from _thread import _count as count_threads
from collections.abc import Iterator
from errno import EOPNOTSUPP
from pathlib import Path

import pytest

from shibafu.netlink import link_removal
from shibafu.netlink.constants import RTM_DELLINK, RTMGRP_LINK
from shibafu.netlink.errors import NetlinkError
from shibafu.netlink.link import link_by_name, link_list
from shibafu.netlink.link_removal import link_del_announced
from shibafu.netlink.link_requests import link_add_bridge, link_add_veth
from shibafu.netlink.namespace import open_netns
from shibafu.netlink.socket import NetlinkSocket
from support.namespaces import Namespace


class Pair:
    """Two namespaces, a socket in each, and the bridge cni0 in the host's."""

    def __init__(self, host: Namespace, container: Namespace) -> None:
        self.host = host
        with host.enter():
            self.outside = NetlinkSocket()
        with container.enter():
            self.inside = NetlinkSocket()
        self.outside.request(link_add_bridge("cni0"))
        bridge = link_by_name(self.outside, "cni0")
        assert bridge is not None
        self.bridge = bridge.index
        self.container_fd = open_netns(container.path)

    def make(self) -> int:
        """Create veth1 on the bridge with its peer eth0 in the container, and return veth1's index."""
        self.outside.request(link_add_veth("veth1", "eth0", self.container_fd, master=self.bridge))
        veth = link_by_name(self.outside, "veth1")
        assert veth is not None
        return veth.index

    def gone(self) -> bool:
        return link_by_name(self.outside, "veth1") is None and link_by_name(self.inside, "eth0") is None

    def close(self) -> None:
        self.outside.close()
        self.inside.close()
        os.close(self.container_fd)


@pytest.fixture
def pair(host: Namespace, container: Namespace) -> Iterator[Pair]:
    made = Pair(host, container)
    yield made
    made.close()


def children() -> set[int]:
    """Return this process's children, zombies among them."""
    return {int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()}


@pytest.mark.parametrize("by_name", [True, False])
def test_both_ends_are_gone_at_once(pair: Pair, by_name: bool) -> None:
    before, threads = (children(), len(os.listdir("/proc/self/fd"))), count_threads()
    for _ in range(20):
        index = pair.make()
        with pair.host.enter():
            assert link_del_announced("veth1" if by_name else index)
            # One that is left may crash an interpreter that ends meanwhile.
            assert count_threads() == threads
        assert pair.gone()
    for _ in range(500):
        if (children(), len(os.listdir("/proc/self/fd"))) == before:
            break
        time.sleep(0.01)
    assert (children(), len(os.listdir("/proc/self/fd"))) == before


def test_the_name_is_free_at_once(pair: Pair) -> None:
    with pair.host.enter():
        for _ in range(10):
            pair.make()
            assert link_del_announced("veth1")
            pair.make()
            assert link_del_announced("veth1")


def test_absent_links(pair: Pair) -> None:
    with pair.host.enter():
        assert not link_del_announced("nope")
        assert not link_del_announced(4711)


def test_the_kernels_acknowledgement_is_not_waited_for(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """The deleting process tells when the kernel has answered it, which is after this one has gone on."""
    # On a busy machine this process may be kept from looking for longer than the kernel takes.
    assert any(_announced_before_answered(pair, monkeypatch) for _ in range(10))


def _announced_before_answered(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> bool:
    read_end, write_end = os.pipe()
    closerange, real_exit, delete = os.closerange, os._exit, link_removal._delete
    has_deleted = []

    def close_all_but_the_pipe(low: int, high: int) -> None:
        closerange(low, write_end)
        closerange(write_end + 1, high)

    def delete_and_remember(index: int) -> None:
        delete(index)
        has_deleted.append(index)

    def tell_and_exit(status: int) -> None:
        if has_deleted:  # not the one in between, whose child it is
            os.write(write_end, b"answered")
        real_exit(status)

    pair.make()
    with monkeypatch.context() as patch, pair.host.enter():
        patch.setattr(os, "closerange", close_all_but_the_pipe)
        patch.setattr(os, "_exit", tell_and_exit)
        patch.setattr(link_removal, "_delete", delete_and_remember)
        assert link_del_announced("veth1")
    answered, _, _ = select.select([read_end], [], [], 0)
    os.close(write_end)
    assert os.read(read_end, 100) == b"answered"
    os.close(read_end)
    assert pair.gone()
    return not answered


def test_leaving_the_bridge_is_not_taken_for_leaving_the_namespace(pair: Pair) -> None:
    """Before a port is deleted the bridge announces RTM_DELLINK for it, of family AF_BRIDGE."""
    index = pair.make()
    with pair.host.enter():
        with NetlinkSocket(RTMGRP_LINK, 0.2) as watch:
            pair.host.run("ip", "link", "set", "veth1", "nomaster")
            kinds = [message[0] for message in watch.receive()]
            while RTM_DELLINK not in kinds:
                kinds += [message[0] for message in watch.receive()]
            assert not link_removal._wait_announced(watch, index)
        assert not pair.gone()
        assert link_del_announced(index)


def test_a_link_that_cannot_be_deleted(pair: Pair) -> None:
    with pair.host.enter(), pytest.raises(NetlinkError, match="cannot delete link 1: oper") as caught:
        link_del_announced("lo")
    assert caught.value.errno == EOPNOTSUPP


@pytest.mark.parametrize("failure", ["no process", "no second process", "no thread", "process dies"])
def test_without_help_it_goes_slowly(pair: Pair, monkeypatch: pytest.MonkeyPatch, failure: str) -> None:
    real_fork, parent = os.fork, os.getpid()

    def fork() -> int:
        if failure == "no process" or (failure == "no second process" and os.getpid() != parent):
            raise BlockingIOError("too many processes")
        child = real_fork()
        if child == 0 and failure == "process dies":
            os._exit(0)
        return child

    def start_new_thread(*arguments: object) -> int:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(os, "fork", fork)
    if failure == "no thread":  # which the engine's processes start instead
        monkeypatch.setattr(sys, "shibafu_resident", True, raising=False)
        monkeypatch.setattr(link_removal, "start_new_thread", start_new_thread)
    pair.make()
    with pair.host.enter():
        assert link_del_announced("veth1")
    assert pair.gone()


def test_lost_announcements_do_not_matter(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_removal, "_wait_announced", lambda watch, index: False)
    pair.make()
    with pair.host.enter():
        assert link_del_announced("veth1")
    assert pair.gone()


def test_announcements_that_overflow_do_not_matter(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """A subscriber with a buffer as small as can be gets ENOBUFS instead of the announcement."""

    class Small(NetlinkSocket):
        __slots__ = ()

        def __init__(self, groups: int = 0, timeout: float = 10.0) -> None:
            super().__init__(groups, timeout)
            if groups:
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)

    monkeypatch.setattr(link_removal, "NetlinkSocket", Small)
    for _ in range(5):
        pair.make()
        with pair.host.enter():
            assert link_del_announced("veth1")
        assert pair.gone()


def test_sigchld_ignored(pair: Pair) -> None:
    """Then the kernel collects the child itself, and waiting for it fails."""
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        pair.make()
        with pair.host.enter():
            assert link_del_announced("veth1")
        time.sleep(0.1)
    finally:
        signal.signal(signal.SIGCHLD, before)
    assert pair.gone()


PROGRAM = """
import sys
import time
from shibafu.netlink.link_removal import link_del_announced
for name in sys.argv[1:]:
    print(link_del_announced(name), flush=True)
"""


def start(namespace: Namespace, *names: str) -> subprocess.Popen[str]:
    """Start a short process that deletes links, as a plugin does."""
    return subprocess.Popen(
        ["ip", "netns", "exec", namespace.name, sys.executable, "-c", PROGRAM, *names],
        env={"PYTHONPATH": str(Path(link_removal.__file__).parents[2])},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_short_process(pair: Pair) -> None:
    pair.make()
    process = start(pair.host, "veth1", "veth1")
    assert process.communicate(timeout=30)[0] == "True\nFalse\n"
    assert pair.gone()


def test_many_at_once(pair: Pair) -> None:
    """Many short processes delete at the same time, as when a pod of many containers ends."""
    names = [f"veth{i}" for i in range(30)]
    pair.outside.request_all(
        [link_add_veth(name, f"peer{name}", pair.container_fd, master=pair.bridge) for name in names]
    )
    processes = [start(pair.host, name) for name in names]
    assert {process.communicate(timeout=30)[0] for process in processes} == {"True\n"}
    assert link_list(pair.outside, kind="veth") == link_list(pair.inside, kind="veth") == []
