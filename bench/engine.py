"""The resident engine of a build, for as long as the measurements last."""

import os
from collections import Counter
from pathlib import Path
from signal import SIGTERM
from time import monotonic, sleep
from typing import Any, Self

from bench.process import Failed, Started
from shibafu.cli.engine.client import ask_engine
from shibafu.engine.location import EngineLocation
from shibafu.engine.metrics import OUTCOME_SERVED

# The engine ends with the measurements, however these end; run.sh's `--kill-child` does not reach it.
_SETPRIV = ["/usr/bin/setpriv", "--pdeathsig", "TERM"]
_ENV = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
# Seconds for it to start, and for its processes to say what they have done.
_PATIENCE = 30.0


class Engine:
    """The engine that serves the launchers of one folder.

    It is started in the measurements' mount namespace, so that its sockets are in their /run. By itself it
    then goes to the namespaces of the first process.

    Args:
        home: the folder.
    """

    def __init__(self, home: Path) -> None:
        self._program = home / "shibafu-engine"
        self._place = EngineLocation(str(home))
        self._started: Started | None = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            # `with` does not leave what could not be entered; after Ctrl-C, too, no engine stays behind.
            self.stop()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def start(self) -> dict[str, Any]:
        """Start it, wait until it listens, and return what its status is then.

        Raises:
            Failed: there is none, or it does not start.
        """
        if not self._program.exists():
            raise Failed(f"{self._program} does not exist: this build has no engine")
        self._started = Started([*_SETPRIV, str(self._program)], _ENV)
        deadline = monotonic() + _PATIENCE
        while (answer := ask_engine(self._place)) is None:
            if self._started.has_ended():
                self._started.wait()  # says why
            if monotonic() > deadline:
                raise Failed(f"{self._program} does not listen")
            sleep(0.001)
        return answer.status

    def stop(self) -> None:
        """End it, when it has ended what it is doing."""
        if self._started is not None:
            os.kill(self._started.pid, SIGTERM)
            self._started.wait()
            self._started = None

    def read_status(self) -> dict[str, Any]:
        """Return what it reports about itself, see `shibafu.engine.parent.Parent.describe`.

        Raises:
            Failed: it does not run any more.
        """
        answer = ask_engine(self._place)
        if answer is None:
            raise Failed(f"{self._program} has ended")
        return answer.status

    def count_served(self) -> Counter[tuple[str, str]]:
        """Return how many calls it has done, by program and verb, when no call is running any more.

        Raises:
            Failed: one does not end.
        """
        deadline = monotonic() + _PATIENCE
        while (status := self.read_status())["busy"]:
            if monotonic() > deadline:
                raise Failed("a call of the engine does not end")
            sleep(0.01)
        served: Counter[tuple[str, str]] = Counter()
        for calls in status["calls"]:
            if calls["outcome"] == OUTCOME_SERVED:
                served[calls["program"], calls["verb"]] += calls["count"]
        return served
