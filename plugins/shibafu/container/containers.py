"""The lives of containers: made, started, stopped, removed.

A container in the background has a monitor (see shibafu.monitor); one in the foreground is run by
runc under this process. The process that runs it holds its lock. What a killed one left behind is cleared
away before the next start, and by removal.
"""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from shibafu.container.accounts import require_regular_accounts
from shibafu.container.bundle import FILES, calc_config
from shibafu.container.container_record import ROOT, ContainerRecord, require_free_name
from shibafu.container.data_dir import close_data, ensure_private
from shibafu.container.errors import NOT_EXECUTABLE, NOT_FOUND, NOT_STARTED, ContainerError
from shibafu.container.image import ImageStore
from shibafu.container.overlay import mount_overlay, unmount_overlay
from shibafu.container.privileges import Privileges, calc_privileges
from shibafu.container.specification import NO_NETWORK, Specification
from shibafu.container.tools import find_tool, run_tool
from shibafu.lean.files import open_file, write_file
from shibafu.monitor.runc_error import read_runc_error

_PAUSE = 0.02
# How long a container may take to end once it was killed, in seconds: runc runs hooks, and they call plugins.
_PATIENCE = 30.0
# How long a look at a lock by somebody else may last.
_LOCK_PATIENCE = 0.5
_RUNC = "containers need it"
# What the kernel says when there is no program of a name, and what runc says.
_NOT_FOUND = ("no such file or directory", "not a directory", "executable file not found in $PATH")


@dataclass(frozen=True)
class Programs:
    """What belongs to this suite and runs alongside the command.

    Args:
        hook: the path of shibafu-hook.
        hook_flags: its flags.
        monitor: the path of shibafu-monitor.
        cgroup_parent: the control group that containers are in.
    """

    hook: str
    hook_flags: list[str]
    monitor: str
    cgroup_parent: str


class Containers:
    """The containers of this machine.

    Args:
        data_dir: where images and containers are.
        programs: what runs alongside.
    """

    def __init__(self, data_dir: Path, programs: Programs) -> None:
        self.images = ImageStore(data_dir / "images")
        self._directory = data_dir / "containers"
        self._addresses = data_dir / "addresses"
        self._programs = programs
        close_data(data_dir)

    # Finding

    def find(self, name: str) -> ContainerRecord:
        """Return a container.

        Raises:
            ContainerError: there is none of that name.
        """
        record = ContainerRecord(self._directory / name)
        if "/" in name or name.startswith(".") or not os.path.lexists(record.directory / "container.json"):
            known = ", ".join(record.name for record in self.find_all())
            hint = f"existing containers: {known}" if known else "start one: shibafu run -d --name NAME IMAGE"
            raise ContainerError(f"there is no container {name}", hint)
        return record

    def find_all(self) -> list[ContainerRecord]:
        """Return all containers by their names."""
        if not self._directory.is_dir():
            return []
        return [
            ContainerRecord(path)
            for path in sorted(self._directory.iterdir())
            if not path.name.startswith(".") and os.path.lexists(path / "container.json")
        ]

    def find_users(self, image: str) -> list[str]:
        """Return the containers of an image."""
        rootfs = str(self.images.directory / image)
        return [record.name for record in self.find_all() if record.load().rootfs.startswith(f"{rootfs}/")]

    # Lives

    def create(self, spec: Specification, unpack: Callable[[Path], Path] | None = None) -> ContainerRecord:
        """Make a container; nothing of it runs.

        Args:
            spec: the container.
            unpack: makes its root file system in its directory and returns where, unless it is an image's.

        Raises:
            ContainerError: the name is taken, here or in runc.
        """
        record = ContainerRecord(self._directory / spec.name)
        require_free_name(record.directory)
        ensure_private(self._directory)
        try:
            record.directory.mkdir(mode=0o700)
        except FileExistsError:
            raise ContainerError(
                f"there is already a container {spec.name}",
                f"start it (shibafu start {spec.name}) or remove it (shibafu rm {spec.name})",
            ) from None
        try:
            if unpack is not None:
                spec = replace(spec, rootfs=str(unpack(record.directory)))
            for name, content in _calc_files(spec).items():
                write_file(f"{record.directory}/{name}", content.encode("utf-8", "surrogateescape"))
                # For the container's users; on the host the directory keeps everybody out.
                (record.directory / name).chmod(0o644)
            spec.save(record.directory / "container.json")
        except BaseException:
            # After Ctrl-C, too: unpacking an archive takes long.
            shutil.rmtree(record.directory, ignore_errors=True)
            raise
        return record

    def start(self, record: ContainerRecord, rights: Privileges | None = None) -> int:
        """Start a container in the background and return its process.

        Args:
            record: the container.
            rights: what it may do, for a caller who knows.

        Raises:
            ContainerError: it is running, or does not come up; then nothing of it is left running.
        """
        lock = self._lock(record)
        try:
            spec = self._prepare(record, rights, has_terminal=False)
            try:
                self._start_monitor(record, spec.is_removed, lock)
            except ContainerError:
                self._clear(record)
                raise
        finally:
            os.close(lock)
        return record.calc_status().pid

    def run(self, record: ContainerRecord, stdin: int | None = None, rights: Privileges | None = None) -> int:
        """Run a container in the foreground and return its exit status.

        Args:
            record: the container.
            stdin: what it reads; None for what this process reads.
            rights: what it may do, for a caller who knows.

        Raises:
            ContainerError: it is running.
        """
        lock = self._lock(record)
        try:
            spec = self._prepare(record, rights, has_terminal=record.load().has_terminal)
            # Ctrl-C is the container's; runc hands it on.
            former = [signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGQUIT)]
            try:
                code = subprocess.run(
                    [
                        find_tool("runc", _RUNC),
                        *("--root", ROOT),
                        # Otherwise it complains in the form of a log.
                        *("--log", str(record.directory / "runc.log"), "--log-format", "json"),
                        *("run", "--pid-file", str(record.directory / "pid")),
                        *("--bundle", str(record.directory), record.name),
                    ],
                    stdin=stdin,
                    check=False,
                ).returncode
            finally:
                for number, handler in zip((signal.SIGINT, signal.SIGQUIT), former, strict=True):
                    signal.signal(number, handler)
            if not (record.directory / "pid").exists():
                # runc has said why.
                code = calc_status(explain_failure(read_runc_error(str(record.directory / "runc.log"))))
            code = 128 - code if code < 0 else code
            ended = {"exitCode": code, "finishedAt": int(time.time())}
            write_file(f"{record.directory}/exit", json.dumps(ended).encode())
            self._clear(record)
            if spec.is_removed:
                shutil.rmtree(record.directory)
        finally:
            os.close(lock)
        return code

    def stop(self, record: ContainerRecord, seconds: float) -> bool:
        """Have a container end and return whether it was running.

        Args:
            record: the container.
            seconds: how long it has after SIGTERM, until SIGKILL ends it.

        Raises:
            ContainerError: it does not end.
        """
        if record.calc_status().state != "running":
            return False
        for number, patience in ((signal.SIGTERM, seconds), (signal.SIGKILL, _PATIENCE)):
            self._kill(record, number)
            deadline = time.monotonic() + patience
            while time.monotonic() < deadline:
                if record.calc_status().state != "running":
                    if record.directory.exists():
                        self._clear_if_free(record)
                    return True
                time.sleep(_PAUSE)
        raise ContainerError(
            f"container {record.name} could not be stopped",
            f"see: runc --root {record.runc_root() or ROOT} state {record.name}, and {record.directory}",
        )

    def remove(self, record: ContainerRecord, force: bool) -> None:
        """Remove a container and everything it has written.

        Raises:
            ContainerError: it is running, and force is not set.
        """
        if record.calc_status().state == "running":
            if not force:
                raise ContainerError(f"container {record.name} is running", "stop it first, or use --force")
            self.stop(record, 0)
        if not record.directory.exists():
            return  # it was to be removed at its end
        lock = self._lock(record)
        try:
            self._clear(record)
            shutil.rmtree(record.directory)
        finally:
            os.close(lock)

    # Steps

    def _lock(self, record: ContainerRecord) -> int:
        deadline = time.monotonic() + _LOCK_PATIENCE
        while (descriptor := record.try_lock()) is None:
            if time.monotonic() > deadline:
                raise ContainerError(f"container {record.name} is running", f"see: shibafu ps {record.name}")
            time.sleep(_PAUSE)
        return descriptor

    def _prepare(
        self, record: ContainerRecord, rights: Privileges | None, has_terminal: bool
    ) -> Specification:
        """Clear away what an earlier run left, and write the bundle."""
        if record.calc_status().pid:
            raise ContainerError(
                f"container {record.name} is running, and no process waits for it to end",
                f"stop it: shibafu stop {record.name}",
            )
        self._clear(record)
        require_free_name(record.directory)
        spec = record.load()
        if not os.path.isdir(spec.rootfs):
            raise ContainerError(f"image {spec.image} of container {record.name} is gone: {spec.rootfs}")
        flags = list(self._programs.hook_flags)
        if spec.is_named:
            flags.append(f"--sticky-dir={self._addresses}")
        programs = self._programs
        config = calc_config(
            spec,
            rights or calc_privileges(spec),
            record.directory,
            programs.hook,
            flags,
            programs.cgroup_parent,
        )
        config["process"]["terminal"] = has_terminal
        write_file(f"{record.directory}/config.json", json.dumps(config, indent=4).encode())
        mount_overlay(record.directory, spec.rootfs)
        try:
            require_regular_accounts(record.name, f"{record.directory}/rootfs", _calc_sources(config))
        except ContainerError:
            unmount_overlay(record.directory)
            raise
        for name in ("exit", "pid", "runc.log"):
            (record.directory / name).unlink(missing_ok=True)
        return spec

    def _start_monitor(self, record: ContainerRecord, is_removed: bool, lock: int) -> None:
        """Start the monitor, and wait until it says that the container is there."""
        ready, told = os.pipe()
        try:
            with open(record.log, "ab", opener=open_file) as log:
                subprocess.Popen(
                    [
                        self._programs.monitor,
                        f"--runc={find_tool('runc', _RUNC)}",
                        f"--runc-root={ROOT}",
                        f"--ready-fd={told}",
                        f"--lock-fd={lock}",
                        *(["--remove"] if is_removed else []),
                        str(record.directory),
                    ],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=(told, lock),
                    cwd="/",
                    # A terminal's Ctrl-C and hang-up are not for the container.
                    start_new_session=True,
                )
        except OSError as error:
            raise ContainerError(f"cannot execute {self._programs.monitor}: {error.strerror}") from None
        finally:
            os.close(told)
        with open(ready, encoding="utf-8", errors="replace") as answer:
            said = answer.read()
        if said != "started":
            why = explain_failure(said) or "its monitor was killed"
            raise ContainerError(f"container {record.name} does not start: {why}", status=calc_status(why))

    def _kill(self, record: ContainerRecord, number: signal.Signals) -> None:
        root = record.runc_root()
        if not root:
            return  # it has just ended by itself
        try:
            run_tool("runc", "--root", root, "kill", record.name, str(int(number)), why=_RUNC)
        except ContainerError:
            if record.calc_status().pid:
                raise  # otherwise it has just ended by itself

    def _clear_if_free(self, record: ContainerRecord) -> None:
        """Clear away what a container left whose monitor had been killed."""
        descriptor = record.try_lock()
        if descriptor is not None:
            try:
                self._clear(record)
            finally:
                os.close(descriptor)

    def _clear(self, record: ContainerRecord) -> None:
        """Remove what is left of a container that has ended: runc's state, attachments, the mount."""
        root = record.runc_root()
        if root:
            run_tool("runc", "--root", root, "delete", "--force", record.name, why=_RUNC)
        unmount_overlay(record.directory)


def explain_failure(said: str) -> str:
    """Return what runc says of a container that does not start, without the steps on the way there."""
    for step in ("shibafu-hook: ", "unable to start container process: ", "runc run failed: "):
        _, found, rest = said.partition(step)
        if found:
            return rest.strip()
    return said.strip()


def calc_status(failure: str) -> int:
    """Return the exit status of a container that does not start.

    Args:
        failure: why, from `explain_failure`.
    """
    # As Go's exec.Error words it: exec: "/bin/x": permission denied
    if not failure.startswith('exec: "'):
        return NOT_STARTED
    return NOT_FOUND if failure.endswith(_NOT_FOUND) else NOT_EXECUTABLE


def _calc_sources(config: dict[str, Any]) -> dict[str, str]:
    """Return the sources of bind mounts by their paths inside, without the first slash; empty for others."""
    return {
        mount["destination"].strip("/"): mount["source"] if mount["type"] == "bind" else ""
        for mount in config["mounts"]
    }


def _calc_files(spec: Specification) -> dict[str, str]:
    """Return the container's files of /etc; shibafu-hook completes those of a container with networks."""
    contents = dict.fromkeys(FILES, "") | {"hostname": f"{spec.hostname}\n"}
    own = f" {spec.hostname}" if spec.networks == [NO_NETWORK] else ""  # otherwise it gets a line by the hook
    contents["hosts"] = f"127.0.0.1\tlocalhost{own}\n::1\tlocalhost ip6-localhost ip6-loopback\n"
    if spec.is_on_host_network:
        for name in ("resolv.conf", "hosts"):
            path = Path("/etc") / name
            contents[name] = path.read_text("utf-8", "surrogateescape") if path.exists() else ""
    return contents
