"""Datagrams every few milliseconds, each of a new socket, and the longest time in which none arrived."""

import socket
import time
from itertools import pairwise
from threading import Event, Thread
from types import TracebackType

from support.namespaces import Namespace
from support.traffic import open_socket

_PAUSE = 0.004


class Stream:
    """Datagrams from one namespace to another, as connections that begin one after the other.

    Args:
        server: where they are to arrive.
        address: the address there.
        client: where they come from.
        source: the address that they are to come from, as the server sees it; empty for any.
    """

    def __init__(self, server: Namespace, address: str, client: Namespace, source: str = "") -> None:
        self._client = client
        self._source = source
        self._end = Event()
        self._version = 6 if ":" in address else 4
        self._listener = open_socket(server, self._version, socket.SOCK_DGRAM, patience=0.1)
        self._listener.bind((address, 0))
        self._target = self._listener.getsockname()[:2]
        self._arrivals: list[float] = []
        self._threads = [Thread(target=self._send), Thread(target=self._receive)]

    def __enter__(self) -> "Stream":
        for thread in self._threads:
            thread.start()
        self.wait_for_arrivals()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def wait_for_arrivals(self) -> None:
        """Wait until ten more have arrived."""
        before, deadline = len(self._arrivals), time.monotonic() + 20
        while len(self._arrivals) < before + 10:
            assert time.monotonic() < deadline, "nothing arrives"
            time.sleep(_PAUSE)

    def measure_gap(self, since: float) -> float:
        """Return the longest time without an arrival, in seconds.

        Args:
            since: from when on, in seconds of the monotonic clock.
        """
        times = [since, *(one for one in self._arrivals if one >= since)]
        return max(later - sooner for sooner, later in pairwise(times))

    def _send(self) -> None:
        with self._client.enter():
            while not self._end.wait(_PAUSE):
                with socket.socket(
                    socket.AF_INET6 if self._version == 6 else socket.AF_INET, socket.SOCK_DGRAM
                ) as talker:
                    try:
                        talker.sendto(b"ping", self._target)
                    except OSError:
                        continue

    def _receive(self) -> None:
        while not self._end.is_set():
            try:
                _, source = self._listener.recvfrom(16)
            except OSError:
                continue
            if self._source in ("", source[0]):
                self._arrivals.append(time.monotonic())
