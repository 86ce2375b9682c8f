"""Containers of `shibafu run` on the machine."""

import shlex
from collections.abc import Callable
from subprocess import Popen
from time import monotonic, sleep
from typing import Any

from e2e.command import DATA_DIR, Command
from e2e.machine import Machine


class Containers:
    """Containers of `shibafu run`, of the built-in image."""

    def __init__(self, machine: Machine, command: Command) -> None:
        self.machine = machine
        self.command = command
        command("image import alpine --builtin")

    def start(self, name: str, options: str = "", program: str = "sleep 600") -> None:
        """Start a container in the background."""
        assert self.command(f"run -d --name {name} {options} alpine {program}") == f"{name}\n"

    def serve(self, name: str, options: str = "") -> None:
        """Start a container that serves its /etc by HTTP, and wait until it does."""
        self.start(name, options, "httpd -f -h /etc")
        self.machine.wait_for_listener(self.view(name)["pid"])

    def view(self, name: str) -> Any:
        """Return what `shibafu ps` says of a container."""
        (view,) = self.command.json(f"ps {name}")
        return view

    def address(self, name: str) -> str:
        """Return the only address of a container, without its prefix."""
        (address,) = self.view(name)["addresses"]
        return str(address).partition("/")[0]

    def ping(self, name: str, address: str) -> bool:
        """Return whether an address answers to a container."""
        return self.command.try_run(f"exec {name} ping -c1 -W1 {address}").returncode == 0

    def wait_until(self, name: str, state: str) -> None:
        """Wait until a container is in a state; `gone` for one that was removed."""
        deadline = monotonic() + 60
        while self.state(name) != state:
            assert monotonic() < deadline, f"{name} is {self.state(name)}, not {state}"
            sleep(0.02)

    def state(self, name: str) -> str:
        """Return the state of a container, or `gone`."""
        states = {view["name"]: view["state"] for view in self.command.json("ps --all")}
        return str(states.get(name, "gone"))


def begin(machine: Machine, run: Command, line: str, setup: str = "") -> tuple["Popen[str]", str]:
    """Begin to run a line of the command behind one of the shell; return it and its number in the machine."""
    machine.run("rm", "-f", "/run/number")
    run_it = f'{setup or ":"}; echo $$ >/run/number; exec "$@"'
    env = ["env", f"SHIBAFU_CGROUP_PARENT={machine.cgroup}", f"SHIBAFU_DATA_DIR={DATA_DIR}"]
    process = machine.start(*env, "sh", "-c", run_it, "sh", *run.argv, *shlex.split(line))
    return process, wait_for(lambda: machine.try_run("cat", "/run/number").stdout).strip()


def wait_for(look: Callable[[], str]) -> str:
    """Look until there is something, and return it."""
    deadline = monotonic() + 60
    while not (found := look()):
        assert monotonic() < deadline
        sleep(0.05)
    return found
