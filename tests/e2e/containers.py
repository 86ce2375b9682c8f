"""Containers of `shibafu run` on the machine."""

from time import monotonic, sleep
from typing import Any

from e2e.command import Command
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
        deadline = monotonic() + 10
        while self.state(name) != state:
            assert monotonic() < deadline, f"{name} is {self.state(name)}, not {state}"
            sleep(0.02)

    def state(self, name: str) -> str:
        """Return the state of a container, or `gone`."""
        states = {view["name"]: view["state"] for view in self.command.json("ps --all")}
        return str(states.get(name, "gone"))
