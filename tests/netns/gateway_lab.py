"""Two hosts whose bridges are one network, each with keepalived, and a world that both lead to."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from netns.watched import make_command
from support.command import CommandLine
from support.machine import Config, Machine
from support.namespaces import Namespace
from support.suite import Suite
from support.waiting import wait_for

GATEWAY = {4: "10.7.0.1", 6: "fd07::1"}
WORLD = {4: "192.0.2.1", 6: "2001:db8:2::1"}
_MOUNTS = {"etc": "/etc/keepalived", "run": "/run/keepalived", "machine-id": "/etc/machine-id"}
INCLUDE = "include /etc/keepalived/conf.d/*.conf\n"


class GatewayHost:
    """A host.

    Args:
        lab: the network that it is on.
        number: its own.
        directory: for what it stores.
        suite: the plugins.
    """

    def __init__(self, lab: "GatewayLab", number: int, directory: Path, suite: Suite) -> None:
        self.number = number
        self.namespace = Namespace(f"host{number}")
        (directory / "run").mkdir(parents=True)
        (directory / "etc").mkdir()
        self.main_file = directory / "etc/keepalived.conf"
        self.main_file.write_text(INCLUDE)
        (directory / "machine-id").write_text(f"{number:032x}\n")
        Path("/run/keepalived").mkdir(exist_ok=True)
        self._pid_file, self._child_pid_file = directory / "run/keepalived.pid", directory / "run/vrrp.pid"
        self.directory = directory
        self._mounts = [f"mount --bind {directory}/{own} {place}" for own, place in _MOUNTS.items()]
        self._log = directory / "log"
        self.file = directory / "etc/conf.d/shibafu-net.conf"
        self._process: subprocess.Popen[bytes] | None = None
        for link, peer in (("eth0", lab.world), ("eth1", lab.switch)):
            self.namespace.run(
                *("ip", "link", "add", link, "up", "type", "veth"),
                *("peer", "name", f"port{number}", "netns", peer.name),
            )
            peer.run("ip", "link", "set", f"port{number}", "master", "switch", "up")
        for version, prefix in ((4, 24), (6, 64)):
            address = WORLD[version][:-1] + str(number + 1)
            self.namespace.run("ip", "address", "add", f"{address}/{prefix}", "dev", "eth0", "nodad")
        self.machine = Machine(suite, self.namespace, directory)
        self.machine.hide(*self._mounts)
        self.config = self._calc_config()
        # The cable to the others is a port of the bridge, before there are containers.
        self.namespace.run(
            "ip", "link", "add", "br0", "address", f"02:00:00:00:00:0{number}", "type", "bridge"
        )
        self.namespace.run("ip", "link", "set", "eth1", "master", "br0")

    def _calc_config(self) -> Config:
        """Return the network as this host has it: its addresses differ from the others'."""
        first = self.number * 10
        return self.machine.config(
            ipam={
                "type": "host-local",
                "ranges": [
                    [
                        {
                            "subnet": "10.7.0.0/24",
                            "rangeStart": f"10.7.0.{first}",
                            "rangeEnd": f"10.7.0.{first + 9}",
                        }
                    ],
                    [
                        {
                            "subnet": "fd07::/64",
                            "rangeStart": f"fd07::{first}",
                            "rangeEnd": f"fd07::{first + 9}",
                        }
                    ],
                ],
                "dataDir": str(self.machine.data_dir),
            },
            gatewayHA="vrrp",
            vrrpTrack=["eth0"],
            gatewayHostIP=[f"10.7.0.{self.number + 1}/24", f"fd07::{self.number + 1}/64"],
        )

    def start_keepalived(self) -> None:
        """Start it, as an administrator does."""
        for file in (self._pid_file, self._child_pid_file):
            file.unlink(missing_ok=True)
        script = " && ".join([*self._mounts, 'exec "$@"'])
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *(
                        "nsenter",
                        f"--net={self.namespace.path}",
                        "unshare",
                        "--mount",
                        "sh",
                        "-c",
                        script,
                        "sh",
                    ),
                    *("keepalived", "--dont-fork", "--log-console", "--log-detail"),
                    *("--pid=/run/keepalived/keepalived.pid", "--vrrp_pid=/run/keepalived/vrrp.pid"),
                ],
                stdout=log,
                stderr=log,
            )
        wait_for(self._pid_file.exists)

    def stop_keepalived(self) -> None:
        """End it in order."""
        assert self._process is not None
        self._process.terminate()
        self._process.wait(10)
        self._process = None

    def kill_keepalived(self) -> None:
        """End it as a crash of the host would: it cannot take its addresses away."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        if self._child_pid_file.exists():
            os.kill(int(self._child_pid_file.read_text()), signal.SIGKILL)
        self._process.kill()
        self._process.wait(10)
        self._process = None

    def reload_keepalived(self) -> None:
        """Have it read its configuration again."""
        assert self._process is not None
        self._process.send_signal(signal.SIGHUP)

    def hide_keepalived(self) -> None:
        """Have later calls of plugins find no such program."""
        self._replace_keepalived("/dev/null")

    def refuse_by_keepalived(self) -> None:
        """Have later calls of plugins find a keepalived that takes no configuration."""
        self._replace_keepalived("/usr/bin/false")

    def show_keepalived(self) -> None:
        """Have later calls of plugins find keepalived as it is."""
        self.machine.hide(*self._mounts)

    def _replace_keepalived(self, program: str) -> None:
        self.machine.hide(*self._mounts, f"mount --bind {program} /usr/sbin/keepalived")

    def read_log(self) -> str:
        """Return what keepalived has said."""
        return self._log.read_text() if self._log.exists() else ""

    def add(self) -> Namespace:
        """Attach a container; return it."""
        name = f"c{self.number}"
        container = self.machine.container(name)
        self.machine.add(self.config, name)
        return container

    def check(self) -> None:
        """CHECK, which must say nothing."""
        self.machine.check(self.config, f"c{self.number}")

    def has_gateway(self) -> bool:
        """Return whether the gateway is here, with all of its addresses."""
        return self.machine.addresses("br0") >= {f"{GATEWAY[4]}/32", f"{GATEWAY[6]}/128"}

    def is_without_gateway(self) -> bool:
        """Return whether none of the gateway's addresses is here."""
        return not self.machine.addresses("br0") & {f"{GATEWAY[4]}/32", f"{GATEWAY[6]}/128"}

    def make_command(self) -> CommandLine:
        """Return the command, which knows the network."""
        shibafu = make_command(self.machine.suite, self.machine, self.config)
        shibafu.mounts |= {place: str(self.directory / own) for own, place in _MOUNTS.items()}
        return shibafu

    def close(self) -> None:
        """Remove everything."""
        if self._process is not None:
            self.kill_keepalived()
        self.machine.close()
        self.namespace.delete()


class GatewayLab:
    """Two hosts.

    Args:
        suite: the plugins.
        directory: for what the hosts store.
    """

    def __init__(self, suite: Suite, directory: Path) -> None:
        self.switch, self.world = Namespace("switch"), Namespace("world")
        for namespace in (self.switch, self.world):
            namespace.run("ip", "link", "add", "switch", "up", "type", "bridge")
        for version, prefix in ((4, 24), (6, 64)):
            self.world.run("ip", "address", "add", f"{WORLD[version]}/{prefix}", "dev", "switch", "nodad")
        self.hosts = [GatewayHost(self, number, directory / f"host{number}", suite) for number in (1, 2)]

    def start(self) -> None:
        """Start keepalived on both hosts, and attach a container to each; the first host is the gateway."""
        for host in self.hosts:
            host.start_keepalived()
            host.add()
            wait_for(self.hosts[0].has_gateway)

    def cut_off(self, host: GatewayHost) -> None:
        """Have the switch forward nothing from and to a host; that has its carrier as before."""
        self.switch.run("ip", "link", "set", f"port{host.number}", "nomaster")

    def close_way_out(self, host: GatewayHost) -> None:
        """Take the carrier of a host's link to the world away."""
        self.world.run("ip", "link", "set", f"port{host.number}", "down")

    def reconnect(self, host: GatewayHost) -> None:
        """Undo that."""
        self.switch.run("ip", "link", "set", f"port{host.number}", "master", "switch")

    def close(self) -> None:
        """Remove everything."""
        for host in self.hosts:
            host.close()
        self.switch.delete()
        self.world.delete()


@contextmanager
def open_gateway_lab(suite: Suite, directory: Path) -> Iterator[GatewayLab]:
    """Yield two hosts that have no container yet."""
    lab = GatewayLab(suite, directory)
    try:
        yield lab
    finally:
        lab.close()
