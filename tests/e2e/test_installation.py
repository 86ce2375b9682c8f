"""What is installed publishes ports and limits bandwidth, also in place of the reference's plugins."""

import json
from pathlib import Path

import pytest

from e2e.documents import prepare, see_network
from e2e.machine import HOST, Machine
from support.debian_package import build_package
from support.suite import Suite

ROOT = Path(__file__).parents[2]
RANGES = [[{"subnet": "10.90.0.0/24"}]]
BRIDGE = {"type": "bridge", "isDefaultGateway": True, "ipMasq": True, "hairpinMode": True}
# What container runtimes put into a chain, by the reference's names.
CHAIN = {
    "cniVersion": "1.0.0",
    "name": "net",
    "plugins": [
        BRIDGE | {"ipam": {"type": "host-local", "ranges": RANGES}},
        {"type": "tuning", "sysctl": {"net.core.somaxconn": "8192"}},
        {"type": "firewall", "ingressPolicy": "same-bridge"},
        {"type": "portmap", "capabilities": {"portMappings": True}},
        {"type": "bandwidth", "capabilities": {"bandwidth": True}},
    ],
}


def run(machine: Machine, line: str) -> str:
    """Type a line into a shell of the machine."""
    env = {"SHIBAFU_CGROUP_PARENT": machine.cgroup}
    return machine.run("bash", "-ec", f"cd {ROOT} && {line}", env=env)


def see_web(machine: Machine) -> None:
    """See that a container `web` is reached at its published port, and that its limits are the kernel's."""
    (view,) = json.loads(run(machine, "shibafu ps web --format json"))
    machine.wait_for_listener(view["pid"])
    request = r"printf 'GET /group HTTP/1.0\r\n\r\n'"
    fetched = machine.run("sh", "-c", f"{request} | busybox nc -w 3 {HOST[0]} 8080", netns="outside")
    assert "nogroup:x:65534" in fetched
    shaped = machine.run("tc", "qdisc")
    assert "rate 10Mbit" in shaped
    assert "rate 20Mbit" in shaped


@pytest.mark.parametrize("network", [pytest.param("bridge", marks=pytest.mark.long), "net"])
def test_ports_and_limits_work_out_of_the_box(machine: Machine, network: str) -> None:
    prepare(machine)
    machine.run("mount", "-t", "tmpfs", "tmpfs", "/usr/lib/cni")  # no other plugins
    before = see_network(machine)
    if network == "net":
        machine.write("/etc/cni/net.d/10-net.conflist", CHAIN)
    run(machine, "packaging/install.sh --with-runc --as-reference")
    options = f"--name web --network {network} -p 8080:80 --bandwidth ingress=10M,egress=20M"
    run(machine, f"shibafu run -d {options} alpine httpd -f -h /etc")
    see_web(machine)
    run(machine, "shibafu network check")
    if network == "net":
        assert run(machine, "shibafu exec web cat /proc/sys/net/core/somaxconn") == "8192\n"
    run(machine, "shibafu rm --force web")
    run(machine, f"shibafu network rm {network}")
    assert see_network(machine) == before
    run(machine, "packaging/uninstall.sh")
    assert machine.files("/opt/cni/bin") == []


@pytest.mark.long
def test_ports_and_limits_work_with_a_package(machine: Machine, suite: Suite, tmp_path: Path) -> None:
    package = build_package(Path(suite.command[0]).parent, tmp_path / "tree")
    prepare(machine)
    machine.run("mount", "-t", "tmpfs", "tmpfs", "/usr/lib/cni")  # no other plugins
    before = see_network(machine)
    run(machine, f"dpkg --no-triggers -i {package}")
    run(machine, "shibafu image import alpine --builtin")
    options = "--name web -p 8080:80 --bandwidth ingress=10M,egress=20M"
    run(machine, f"shibafu run -d {options} alpine httpd -f -h /etc")
    see_web(machine)
    run(machine, "shibafu network check")
    run(machine, "shibafu rm --force web")
    run(machine, "shibafu network rm bridge")
    assert see_network(machine) == before
    run(machine, "dpkg --no-triggers --purge shibafu")
    assert machine.files("/opt/cni/bin") == []


def test_names_change_hands_while_a_container_runs(machine: Machine) -> None:
    """What the reference attached is detached by shibafu; afterwards the reference has its names again."""
    prepare(machine)
    machine.run("sh", "-c", "cp /run/reference/* /opt/cni/bin/")
    plugins = machine.run("sh", "-c", "sha256sum /opt/cni/bin/*")
    machine.write("/etc/cni/net.d/10-net.conflist", CHAIN)
    run(machine, "packaging/install.sh --with-runc")
    options = "--name web --network net -p 8080:80 --bandwidth ingress=10M,egress=20M"
    run(machine, f"shibafu run -d {options} alpine httpd -f -h /etc")
    assert "CNI-DN-" in machine.run("iptables-save")
    see_web(machine)

    run(machine, "packaging/install.sh --as-reference")
    see_web(machine)
    run(machine, "shibafu network check")
    run(machine, "shibafu rm --force web")
    assert machine.leftovers() == []
    run(machine, "packaging/uninstall.sh")
    assert machine.run("sh", "-c", "sha256sum /opt/cni/bin/*") == plugins
