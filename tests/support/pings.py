"""Pings, a hundred each second, and how many of them had no answer."""

import re
import signal
import subprocess
import time

from support.namespaces import Namespace


class Pings:
    """A hundred pings per second, for as long as the context lasts.

    Args:
        container: who sends them.
        address: to whom.

    Attributes:
        lost: how many had no answer.
        sent: how many there were.
    """

    def __init__(self, container: Namespace, address: str) -> None:
        self._command = ["ip", "netns", "exec", container.name, "ping", "-q", "-i", "0.01", address]
        self.lost = self.sent = 0

    def __enter__(self) -> "Pings":
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True)
        time.sleep(0.1)
        return self

    def __exit__(self, *exception: object) -> None:
        # The last one is on its way.
        self._process.send_signal(signal.SIGINT)
        out, _ = self._process.communicate(timeout=10)
        numbers = re.search(r"(\d+) packets transmitted, (\d+) received", out)
        assert numbers, out
        self.sent, received = int(numbers[1]), int(numbers[2])
        # That which was on its way when it ended does not count.
        self.lost = max(0, self.sent - received - 1)
        assert self.sent > 5, out
