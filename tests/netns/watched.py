"""The watcher as a process beside a test."""

import os
import signal
import time
from collections.abc import Callable
from json import dumps, loads
from pathlib import Path
from threading import Thread
from typing import Any

from support.command import CommandLine
from support.machine import RECORDS, Config, Machine
from support.memory import read_memory
from support.stream import Stream
from support.suite import Suite
from support.waiting import wait_for


class Watched:
    """A running `shibafu watch run`, from its first look on.

    Args:
        shibafu: the command.
        options: of `watch run`.

    Attributes:
        lines: what it has logged.
    """

    def __init__(self, shibafu: CommandLine, *options: str) -> None:
        self._shibafu = shibafu
        self._process = shibafu.start("watch", "run", *options)
        self._reader = Thread(target=self._read)
        self._is_dry_run = "--dry-run" in options
        self.lines: list[str] = []

    def __enter__(self) -> "Watched":
        self._reader.start()
        wait_for(self._is_ready)
        return self

    def __exit__(self, *exception: object) -> None:
        if self._process.poll() is None:
            self.stop()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.lines.append(line.rstrip("\n"))

    def _is_ready(self) -> bool:
        """Return whether it has looked at everything once: then it writes its status."""
        assert self._process.poll() is None, self._process.stderr
        status = RECORDS / "watch" / f"{os.stat(self._shibafu.host.path).st_ino}.json"
        return self._is_dry_run or (status.exists() and loads(status.read_text())["pid"] == self.pid)

    @property
    def pid(self) -> int:
        """The number of its process."""
        return self._process.pid

    def read_status(self) -> Any:
        """Return what `watch status` prints."""
        return self._shibafu.json("watch status")

    def wait_for(self, text: str) -> str:
        """Wait until it has logged a text; return the line."""
        try:
            wait_for(lambda: any(text in line for line in self.lines))
        except AssertionError:
            raise AssertionError("\n".join([f"the log does not say {text!r}:", *self.lines])) from None
        return next(line for line in self.lines if text in line)

    def measure_cpu(self) -> float:
        """Return the seconds of CPU that it and its children have used."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")

    def measure_memory(self) -> int:
        """Return its memory in bytes, with its share of what it has in common with others."""
        return read_memory(self.pid, "Pss")

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """End it as a crash would."""
        self._process.kill()
        self._wait()

    def stop(self) -> None:
        """End it in order."""
        self.signal(signal.SIGTERM)
        assert self._wait() == ""
        assert self._process.returncode == 0

    def _wait(self) -> str:
        assert self._process.stderr is not None
        err = self._process.stderr.read()
        self._process.wait(timeout=20)
        self._reader.join()
        return err


def settle() -> None:
    """Wait for as long as a heal would take that must not happen."""
    time.sleep(0.5)


def assert_heals_within(bound: float, stream: Stream, damage: Callable[[], object]) -> None:
    """Assert that what `damage` does is healed before a stream has been interrupted for longer than a time.

    Processors that others have taken may make it late, but hardly three times in a row.

    Args:
        bound: the time in seconds.
        stream: what is interrupted.
        damage: what the watcher mends.
    """
    gaps: list[float] = []
    while not gaps or gaps[-1] >= bound:
        assert len(gaps) < 3, gaps
        begin = time.monotonic()
        damage()
        stream.wait_for_arrivals()
        gaps.append(stream.measure_gap(begin))


def make_command(suite: Suite, machine: Machine, config: Config) -> CommandLine:
    """Return a command that knows a machine's network."""
    shibafu = CommandLine(suite, machine.host, machine.directory)
    plugin = {key: value for key, value in config.items() if key not in ("cniVersion", "name")}
    document = {"cniVersion": config["cniVersion"], "name": config["name"], "plugins": [plugin]}
    (shibafu.conf_dir / "net.conflist").write_text(dumps(document))
    return shibafu
