"""The command `shibafu` as a process, on a host of its own."""

import os
import shutil
import subprocess
from json import loads
from pathlib import Path
from typing import Any

import shibafu
import shibafu_ipam
from support.machine import RECORDS
from support.namespaces import Namespace
from support.schemas import validated
from support.suite import Suite
from support.warm import warm_command


class CommandLine:
    """Runs the command.

    Args:
        suite: which command, and the plugins that it calls.
        host: the host's namespace.
        directory: for what it and the plugins store.
    """

    def __init__(self, suite: Suite, host: Namespace, directory: Path) -> None:
        self.host = host
        self._command = suite.command
        self.records = RECORDS / str(os.stat(host.path).st_ino)
        self.conf_dir = directory / "net.d"
        self.store = directory / "lib"
        self.cache_dir = self.store / "results"
        for made in (self.conf_dir, self.store, Path("/var/lib/cni")):
            made.mkdir(parents=True, exist_ok=True)
        # Directories and files that it sees at other paths, by these. Networks that the command makes keep
        # their leases in /var/lib/cni, here a directory of the test's own.
        self.mounts = {"/var/lib/cni": str(self.store)}
        self._is_built = suite.is_built
        self._roots = [str(Path(package.__path__[0]).parent) for package in (shibafu, shibafu_ipam)]
        self.env = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": ":".join(self._roots),
            "CNI_CONF_DIR": str(self.conf_dir),
            "CNI_CACHE_DIR": str(self.cache_dir),
            "CNI_PATH": str(suite.directory),
            "SHIBAFU_POLICY_DIR": str(directory / "policies"),
            "SHIBAFU_ROUTERS": str(directory / "routers.yaml"),
        }

    def __enter__(self) -> "CommandLine":
        return self

    def __exit__(self, *exception: object) -> None:
        """Remove what the plugins remember of this host: another namespace may get its number."""
        shutil.rmtree(self.records, ignore_errors=True)

    def start(self, *arguments: str, prepare: str = "true") -> subprocess.Popen[str]:
        """Begin to run it, after a line for sh(1) that concerns its own mounts."""
        mounts = [f"mount --bind {store} {place}" for place, store in self.mounts.items()]
        command = [*self._command, *arguments]
        return subprocess.Popen(
            [
                "nsenter",
                f"--net={self.host.path}",
                "unshare",
                "-m",
                "sh",
                "-c",
                " && ".join([prepare, *mounts, 'exec "$@"']),
                "sh",
                *command,
            ],
            env=self.env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, status: int = 0, stdin: str = "") -> tuple[str, str]:
        """Run it, which must end with `status`; return what it printed on stdout and on stderr."""
        run = self._run_process if self._is_built else self._run_warm
        ended, out, err = run(arguments, stdin)
        assert ended == status, (arguments, ended, out, err)
        assert "Traceback" not in err
        return out, err

    def _run_process(self, arguments: tuple[str, ...], stdin: str) -> tuple[int, str, str]:
        process = self.start(*arguments)
        out, err = process.communicate(stdin, timeout=60)
        return process.returncode, out, err

    def _run_warm(self, arguments: tuple[str, ...], stdin: str) -> tuple[int, str, str]:
        warm = warm_command(os.environ["PATH"])
        return warm.run(arguments, self._roots, self.env, self.host.path, self.mounts, stdin)

    def __call__(self, line: str, stdin: str = "") -> str:
        """Run a line, which must succeed; return what it printed."""
        return self.run(*line.split(), stdin=stdin)[0]

    def json(self, line: str, status: int = 0) -> Any:
        """Run a line with `--format json`; return what it printed, which is what its schema says."""
        return validated(line, loads(self.run(*line.split(), "--format", "json", status=status)[0]))

    def fail(self, line: str, status: int = 1, stdin: str = "") -> str:
        """Run a line, which must fail; return what it said."""
        return self.run(*line.split(), status=status, stdin=stdin)[1]

    def connect(self, network: str, container: Namespace, *options: str) -> str:
        """Connect a container to a network; return its address."""
        answer = self.json(" ".join(["network connect", network, container.name, *options]))
        address: str = answer["result"]["ips"][0]["address"]
        return address.partition("/")[0]
