"""etcd for tests: one member, in a network namespace, with its data in memory."""

import json
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from shibafu.overlay.config import EtcdAccess
from support.namespaces import Namespace

_PATIENCE = 60.0


class EtcdServer:
    """A member of etcd that listens on all addresses of a namespace.

    Args:
        namespace: where it runs.
        options: further ones of etcd(1).
        scheme: `http` or `https`.
        port: for clients.
    """

    def __init__(self, namespace: Namespace, *options: str, scheme: str = "http", port: int = 2379) -> None:
        self._namespace = namespace
        self._directory = Path(tempfile.mkdtemp(prefix="etcd-", dir="/dev/shm"))
        self._data = self._directory / "data"
        self._options = options
        self.url = f"{scheme}://127.0.0.1:{port}"
        self._listen = f"{scheme}://0.0.0.0:{port}"
        self._port = port
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def access(self) -> EtcdAccess:
        """How it is reached from its namespace."""
        return EtcdAccess((self.url,))

    def __enter__(self) -> "EtcdServer":
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()
        shutil.rmtree(self._directory)

    def start(self) -> None:
        """Start it, and wait until it listens."""
        peer = f"http://127.0.0.1:{self._port + 1}"
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *("ip", "netns", "exec", self._namespace.name, "etcd", "--name", "one"),
                    *("--data-dir", self._data, "--listen-peer-urls", peer),
                    *("--initial-advertise-peer-urls", peer, "--initial-cluster", f"one={peer}"),
                    *("--listen-client-urls", self._listen, "--advertise-client-urls", self.url),
                    # What is lost when the machine stops does not matter.
                    *("--heartbeat-interval", "20", "--election-timeout", "100", "--logger", "zap"),
                    *self._options,
                ],
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + _PATIENCE
        log_file = self._directory / "log"
        while not re.search(rb'"serving (insecure )?client', log_file.read_bytes()):
            if self._process.poll() is not None or time.monotonic() > deadline:
                said = log_file.read_text()[-2000:]
                self.__exit__()
                raise AssertionError(said)
            time.sleep(0.01)

    def stop(self) -> None:
        """Kill it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
            (self._directory / "log").unlink()

    def forget(self) -> None:
        """Lose all data, as a store does that is restored from an empty backup; it must not be running."""
        shutil.rmtree(self._data)

    def save(self) -> Path:
        """Return a copy of the data, as it is."""
        saved = self._directory / "saved"
        shutil.copytree(self._data, saved)
        return saved

    def restore(self, saved: Path) -> None:
        """Go back to a copy; it must not be running."""
        self.forget()
        saved.rename(self._data)

    def ctl(self, *argv: str) -> str:
        """Run etcdctl(1), and return what it prints."""
        return self._namespace.run("env", "ETCDCTL_API=3", "etcdctl", "--endpoints", self.url, *argv)

    def read_revision(self) -> int:
        """Return the store's revision."""
        (status,) = json.loads(self.ctl("endpoint", "status", "-w", "json"))
        return int(status["Status"]["header"]["revision"])
