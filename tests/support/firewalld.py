"""firewalld in a host's namespace, on a bus of its own, with a configuration of its own."""

import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from support.machine import SYSTEM_PATH
from support.namespaces import Namespace

# What Debian's package has; a test may be given another root with it (`SHIBAFU_FIREWALLD_ROOT`).
ROOT = Path(os.environ.get("SHIBAFU_FIREWALLD_ROOT", "/"))
PROGRAM = ROOT / "usr/sbin/firewalld"
_BUS = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path={path}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/><allow own="*"/><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/>
  </policy>
</busconfig>
"""


class Firewalld:
    """A running firewalld.

    Args:
        host: the namespace that it keeps.
        directory: for its configuration and the bus's.
        backend: what it makes its own rules with.
    """

    def __init__(self, host: Namespace, directory: Path, backend: str = "nftables") -> None:
        self._directory = directory
        directory.mkdir()
        self.address = f"unix:path={directory}/bus"
        config = directory / "bus.conf"
        config.write_text(_BUS.format(path=directory / "bus"))
        shutil.copytree(ROOT / "etc/firewalld", directory / "etc")
        file = directory / "etc/firewalld.conf"
        file.write_text(re.sub("(?m)^FirewallBackend=.*", f"FirewallBackend={backend}", file.read_text()))
        self._processes = [self._start("dbus-daemon", f"--config-file={config}", "--nofork", "--nopidfile")]
        try:
            _wait_for((directory / "bus").exists)
            self._processes.append(self._start_firewalld(host))
            _wait_for(self._is_ready)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End it, and its bus."""
        for process in reversed(self._processes):
            process.terminate()
            process.wait(20)

    def sources(self, zone: str = "trusted") -> set[str]:
        """Return the sources of a zone."""
        printed = self._send("zone.getSources", f"string:{zone}")
        return {line.split('"')[1] for line in printed.splitlines() if "string" in line}

    def remove_source(self, source: str, zone: str = "trusted") -> None:
        """Remove a source as `firewall-cmd` does."""
        self._send("zone.removeSource", f"string:{zone}", f"string:{source}")

    def add_source(self, source: str, zone: str) -> None:
        """Add a source as `firewall-cmd` does."""
        self._send("zone.addSource", f"string:{zone}", f"string:{source}")

    def reload(self) -> None:
        """Have it forget what it was told since its start."""
        self._send("reload")

    def _is_ready(self) -> bool:
        try:
            assert all(process.poll() is None for process in self._processes), "firewalld has ended"
            self._send("getDefaultZone")
        except subprocess.CalledProcessError:
            return False
        return True

    def _send(self, method: str, *arguments: str) -> str:
        name = "org.fedoraproject.FirewallD1"
        interface, _, member = f"{name}.{method}".rpartition(".")
        argv = [
            "dbus-send",
            f"--bus={self.address}",
            "--print-reply",
            "--reply-timeout=5000",
            f"--dest={name}",
        ]
        argv += ["/org/fedoraproject/FirewallD1", f"{interface}.{member}", *arguments]
        done = subprocess.run(argv, check=True, capture_output=True, text=True, env={"PATH": SYSTEM_PATH})
        return done.stdout

    def _start_firewalld(self, host: Namespace) -> "subprocess.Popen[bytes]":
        options = ["--nofork", "--nopid", f"--log-file={self._directory}/log"]
        options += [f"--system-config={self._directory}/etc", f"--default-config={ROOT}/usr/lib/firewalld"]
        program = ["/usr/bin/python3", "-s", str(PROGRAM), *options]
        return self._start("nsenter", f"--net={host.path}", *program)

    def _start(self, *argv: str) -> "subprocess.Popen[bytes]":
        env = {
            "PATH": SYSTEM_PATH,
            "DBUS_SYSTEM_BUS_ADDRESS": self.address,
            "PYTHONPATH": str(ROOT / "usr/lib/python3/dist-packages"),
            "GI_TYPELIB_PATH": str(ROOT / "usr/lib/x86_64-linux-gnu/girepository-1.0"),
        }
        quiet = subprocess.DEVNULL
        return subprocess.Popen(argv, env=env, stdin=quiet, stdout=quiet, stderr=quiet)


def _wait_for(condition: Callable[[], bool]) -> None:
    for _ in range(100):
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError("firewalld does not start")
