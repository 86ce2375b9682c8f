"""etcd for tests: members in network namespaces, with their data in memory."""

import json
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
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
        peers: the URLs of all members by their names, its own first; alone it needs none. Such a member is
            started, but not waited for: it listens once most of them are there.
    """

    def __init__(
        self,
        namespace: Namespace,
        *options: str,
        scheme: str = "http",
        port: int = 2379,
        peers: Mapping[str, str] | None = None,
    ) -> None:
        self._namespace = namespace
        self._directory = Path(tempfile.mkdtemp(prefix="etcd-", dir="/dev/shm"))
        self._data = self._directory / "data"
        self._log = self._directory / "log"
        self._options = options
        self.url = f"{scheme}://127.0.0.1:{port}"
        self._listen = f"{scheme}://0.0.0.0:{port}"
        self._peers = peers or {"one": f"http://127.0.0.1:{port + 1}"}
        self._process: subprocess.Popen[bytes] | None = None
        self.launch()
        if peers is None:
            self.wait_until_serving()

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
        self.launch()
        self.wait_until_serving()

    def launch(self) -> None:
        """Start it."""
        _, peer = self._who
        # Several members on a busy machine are late, and would elect again and again.
        beat, election = ("20", "100") if len(self._peers) == 1 else ("100", "1000")
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *("ip", "netns", "exec", self._namespace.name, "etcd", *self._describe_members()),
                    *("--data-dir", self._data, "--listen-peer-urls", peer),
                    *("--listen-client-urls", self._listen, "--advertise-client-urls", self.url),
                    # What is lost when the machine stops does not matter.
                    *("--heartbeat-interval", beat, "--election-timeout", election, "--logger", "zap"),
                    *self._options,
                ],
                stdout=log,
                stderr=log,
            )

    def wait_until_serving(self) -> None:
        """Wait until it listens."""
        assert self._process is not None
        deadline = time.monotonic() + _PATIENCE
        while not re.search(rb'"serving (insecure )?client', self._log.read_bytes()):
            if self._process.poll() is not None or time.monotonic() > deadline:
                said = self._log.read_text()[-2000:]
                self.__exit__()
                raise AssertionError(said)
            time.sleep(0.01)

    @property
    def _who(self) -> tuple[str, str]:
        """Its name, and the URL that it has for other members."""
        return next(iter(self._peers.items()))

    def _describe_members(self) -> list[str]:
        name, peer = self._who
        cluster = ",".join(f"{one}={url}" for one, url in self._peers.items())
        return ["--name", name, "--initial-advertise-peer-urls", peer, "--initial-cluster", cluster]

    def stop(self) -> None:
        """Kill it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
            self._log.unlink()

    def pause(self) -> None:
        """Have it do nothing, with its connections open, until `go_on`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """End a pause."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def forget(self) -> None:
        """Lose all data, as a store does that is restored from an empty backup; it must not be running."""
        shutil.rmtree(self._data)

    def save(self) -> Path:
        """Return a backup, as etcdctl(1) makes it."""
        saved = self._directory / "backup"
        self.ctl("snapshot", "save", str(saved))
        return saved

    def restore(self, saved: Path) -> None:
        """Go back to a backup; it must not be running."""
        self.forget()
        self.ctl("snapshot", "restore", str(saved), "--data-dir", str(self._data), *self._describe_members())

    def ctl(self, *argv: str) -> str:
        """Run etcdctl(1), and return what it prints."""
        return self._namespace.run("env", "ETCDCTL_API=3", "etcdctl", "--endpoints", self.url, *argv)

    def require_passwords(self, prefix: str = "") -> None:
        """Want passwords from now on.

        Args:
            prefix: of the keys that the user `blue` may read and write, whose password is `azure`; empty for
                none. That of `root` is `secret`.
        """
        granted = [("role", "grant-permission", "blue", "readwrite", "--prefix", prefix)] if prefix else []
        for words in (
            ("user", "add", "root:secret"),
            ("user", "grant-role", "root", "root"),
            ("user", "add", "blue:azure"),
            ("role", "add", "blue"),
            *granted,
            ("user", "grant-role", "blue", "blue"),
            ("auth", "enable"),
        ):
            self.ctl(*words)

    def read_revision(self) -> int:
        """Return the store's revision."""
        (status,) = json.loads(self.ctl("endpoint", "status", "-w", "json"))
        return int(status["Status"]["header"]["revision"])
