"""What tests need that type a document's commands into a machine of their own."""

import re

from e2e.machine import Machine


def find_blocks(text: str, kind: str) -> list[str]:
    """Return the code blocks of a kind, such as `sh`."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [content for name, content in blocks if name == kind]


def prepare(machine: Machine) -> None:
    """Make /usr writable, as on a real machine, and remove our plugins."""
    machine.run("umount", "/opt/cni/bin")
    machine.run("mkdir", "-p", "/run/.over/usr", "/run/.work/usr", "/var/lib/shibafu")
    layers = "lowerdir=/usr,upperdir=/run/.over/usr,workdir=/run/.work/usr"
    machine.run("mount", "-t", "overlay", "overlay", "-o", layers, "/usr")
    # Containers bring an overlay, which cannot lie on another one.
    machine.run("mount", "-t", "tmpfs", "tmpfs", "/var/lib/shibafu")


def see_network(machine: Machine) -> list[str]:
    """Return everything that a document creates, or could leave behind, in the machine's network."""
    commands = ("-brief link", "-brief address", "route", "-6 route", "netns list")
    return [*(machine.run("ip", *command.split()) for command in commands), *machine.rules()]
