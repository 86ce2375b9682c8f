"""`shibafu run` and its like, with real runc and real traffic."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from e2e.command import DATA_DIR, Command
from e2e.containers import Containers
from e2e.machine import HOST, OUTSIDE, Machine

ADDRESS = "172.20.0."


@pytest.fixture
def containers(machine: Machine, command: Command) -> Iterator[Containers]:
    """Remove all containers in the end, and see that nothing of them is mounted."""
    containers = Containers(machine, command)
    yield containers
    names = " ".join(view["name"] for view in command.json("ps --all"))
    if names:
        command(f"rm --force {names}")
    assert machine.files(f"{DATA_DIR}/containers") == []
    assert "overlay /run/shibafu-data" not in machine.run("cat", "/proc/mounts")
    assert machine.run("runc", "--root", "/run/shibafu-runc", "list", "--quiet") == ""


def test_three_containers_reach_each_other_the_gateway_and_the_world(
    machine: Machine, containers: Containers
) -> None:
    machine.serve("outside")
    names = ("web1", "web2", "web3")
    for name in names:
        containers.start(name)
    shown = [containers.command(f"exec {name} ip addr show eth0") for name in names]
    addresses = [containers.address(name) for name in names]
    assert addresses == [f"{ADDRESS}{number}" for number in (2, 3, 4)]
    for address, text in zip(addresses, shown, strict=True):
        assert f"inet {address}/24" in text
    for name in names:
        for address in (*addresses, f"{ADDRESS}1"):
            assert containers.ping(name, address), (name, address)
    pid = containers.view("web1")["pid"]
    seen = machine.run("nsenter", f"--net=/proc/{pid}/ns/net", "sh", "-c", FETCH_OUTSIDE)
    assert HOST[0] in seen


def test_policies_find_containers_by_their_labels(machine: Machine, containers: Containers) -> None:
    policy = """{"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
    "metadata": {"name": "db", "namespace": "prod"},
    "spec": {"podSelector": {"matchLabels": {"app": "db"}},
             "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "web"}}}]}]}}"""
    machine.run("sh", "-c", "cat >/run/policy.json <<'END'\n" + policy + "\nEND")
    for name, namespace in (("db", "prod"), ("web", "prod"), ("web", "other")):
        containers.start(f"{name}-{namespace}", f"--namespace {namespace} --label app={name}")
    containers.command("policy apply -f /run/policy.json")
    for name in ("web-prod", "web-other"):
        is_allowed = name == "web-prod"
        assert containers.ping(name, containers.address("db-prod")) is is_allowed
        done = containers.command.try_run(f"policy explain {name} db-prod 80")
        assert (done.returncode == 0) is is_allowed
    containers.command("restart --time 0 web-prod")
    assert containers.ping("web-prod", containers.address("db-prod"))
    containers.command("policy rm prod/db")
    assert containers.ping("web-other", containers.address("db-prod"))


FETCH_OUTSIDE = rf"printf 'GET /cgi-bin/address HTTP/1.0\r\n\r\n' | busybox nc -w 3 {OUTSIDE[0]} 80"


def test_the_default_network_takes_the_next_subnet_that_is_free(
    machine: Machine, containers: Containers
) -> None:
    """Docker Compose gives out 172.18.0.0/16 and those that follow."""
    machine.run("ip", "link", "add", "br-compose", "type", "bridge")
    machine.run("ip", "addr", "add", "172.20.0.1/16", "dev", "br-compose")
    machine.run("ip", "link", "set", "br-compose", "up")
    containers.start("web1")
    assert containers.address("web1") == "172.21.0.2"
    assert containers.ping("web1", "172.21.0.1")
    machine.run("ip", "link", "del", "br-compose")


def test_a_container_in_the_foreground_leaves_nothing(machine: Machine, containers: Containers) -> None:
    said = containers.command("run --rm --network bridge alpine ping -c1 172.20.0.1")
    assert "1 received" in said
    assert containers.state("web1") == "gone"
    assert machine.leftovers() == []
    assert machine.files(f"{DATA_DIR}/addresses") == []  # nobody chose its name


def test_a_stated_address_and_hardware_address(containers: Containers) -> None:
    containers.start("fixed", "--ip 172.20.0.100 --mac 02:00:5e:00:00:09")
    assert containers.address("fixed") == "172.20.0.100"
    assert "02:00:5e:00:00:09" in containers.command("exec fixed ip link show eth0")
    said = containers.command.fail("run -d --ip 172.20.0.100 --name other alpine sleep 600", status=125)
    assert "requested IP address 172.20.0.100 is not available" in said
    assert containers.state("other") == "gone"


def test_lists_and_inspects_the_default_network(containers: Containers) -> None:
    containers.start("web1")
    assert "bridge   shibafu0 (up)  172.20.0.0/24           1     1   252" in containers.command("network ls")
    drawn = containers.command("network inspect bridge")
    assert "eth0  web1  172.20.0.2/24  up" in drawn
    assert "✗" not in drawn
    listed = containers.command("ps")
    assert listed.splitlines()[0].split() == [
        "NAME", "IMAGE", "STATUS", "NETWORKS", "ADDRESSES", "PORTS", "COMMAND",
    ]  # fmt: skip
    assert "172.20.0.2/24" in listed


def test_networks_are_repaired_under_running_containers(containers: Containers, machine: Machine) -> None:
    for name in ("web1", "web2"):
        containers.start(name)
    pid = containers.view("web1")["pid"]
    machine.run("iptables", "-t", "nat", "-F")
    machine.run("ip", "link", "del", "shibafu0")
    assert not containers.ping("web1", f"{ADDRESS}3")
    containers.command("network repair")
    for address in (f"{ADDRESS}3", f"{ADDRESS}1", OUTSIDE[0]):
        assert containers.ping("web1", address), address
    assert containers.view("web1")["pid"] == pid
    containers.command("network check")


def test_an_address_comes_back_with_its_container(containers: Containers) -> None:
    for name in ("web1", "web2"):
        containers.start(name)
    containers.command("stop --time 0 web1")
    assert (containers.state("web1"), containers.view("web1")["exitCode"]) == ("exited", 137)
    containers.start("web3")
    assert containers.address("web3") != f"{ADDRESS}2"
    containers.command("start web1")
    assert containers.address("web1") == f"{ADDRESS}2"
    containers.command("restart --time 0 web1")
    assert containers.address("web1") == f"{ADDRESS}2"
    # Also after it was removed, as long as nobody else has it.
    containers.command("rm --force web1 web2")
    containers.start("web2")
    assert containers.address("web2") == f"{ADDRESS}3"
    containers.start("thief", "--ip 172.20.0.2")
    containers.start("web1")
    assert containers.address("web1") not in (f"{ADDRESS}2", f"{ADDRESS}3")


def test_what_a_container_has_written_outlives_its_end(containers: Containers) -> None:
    containers.start("web1", program="sh -c 'echo kept >>/root/file; sleep 600'")
    containers.command("restart --time 0 web1")
    assert containers.command("exec web1 cat /root/file").split() == ["kept", "kept"]
    assert containers.command("run --rm alpine ls /root") == ""  # and is nobody else's


def test_published_ports_and_limits_take_the_plugins_of_these_roles(
    machine: Machine, containers: Containers
) -> None:
    containers.serve("web1", "-p 8080:80 --bandwidth ingress=10M,egress=20M")
    fetched = machine.run(
        "sh", "-c", rf"printf 'GET /group HTTP/1.0\r\n\r\n' | busybox nc -w 3 {HOST[0]} 8080", netns="outside"
    )
    assert "nogroup:x:65534" in fetched
    shaped = machine.run("tc", "qdisc")
    assert "rate 10Mbit" in shaped
    assert "rate 20Mbit" in shaped
    containers.command("network limit web1 --egress 5M")
    shaped = machine.run("tc", "qdisc")
    assert "rate 10Mbit" in shaped
    assert "rate 5Mbit" in shaped
    containers.command("rm --force web1")
    assert "rate" not in machine.run("tc", "qdisc")
    assert machine.rules() == []


def test_ports_take_no_plugin_of_others(machine: Machine, containers: Containers) -> None:
    containers.serve("web1", "-p 0:80 -p 9000-9002:80-82")
    ports = containers.view("web1")["ports"]
    chosen = next(port.partition(":")[0] for port in ports if port.endswith(":80"))
    assert sorted(ports) == sorted([f"{chosen}:80", "9000-9002:80-82"])
    for port in (chosen, "9000"):
        ask = rf"printf 'GET /group HTTP/1.0\r\n\r\n' | busybox nc -w 3 {HOST[0]} {port}"
        assert "nogroup" in machine.run("sh", "-c", ask, netns="outside")
    said = containers.command.fail("run -d --name web2 -p 9001:80 alpine sleep 600", status=125)
    assert "port 9001/tcp of the host is taken by container web1 on network bridge" in said
    containers.command("rm --force web1")
    containers.start("web2", "-p 9001:80")
    # A container that is started again may find that another one has its port by now.
    containers.start("web3", "-p 8080:80")
    containers.command("stop --time 0 web3")
    containers.start("web4", "-p 8080:80")
    said = containers.command.fail("start web3")
    assert "port 8080/tcp of the host is taken by container web4 on network bridge" in said


@pytest.mark.parametrize(
    ("breakage", "said"),
    [
        ("iptables -t nat -F", "published ports lead nowhere"),
        pytest.param(
            *("sysctl -qw net.ipv4.conf.shibafu0.route_localnet=0", "127.0.0.1"), marks=pytest.mark.long
        ),
        ("ip link del shibafu0", "shibafu0"),
    ],
)
def test_repair_restores_ports(machine: Machine, containers: Containers, breakage: str, said: str) -> None:
    containers.serve("web1", "-p 8080:80 -p 8443:443/udp")
    assert "nothing to repair" in containers.command("network repair")
    (endpoint,) = containers.command.json("network inspect bridge")[0]["endpoints"]
    (ports,) = [one for one in endpoint["resources"] if one["resource"] == "publishedPorts"]
    assert ports["faults"] == []
    assert [one["hostPort"] for one in ports["attributes"]["portMappings"]] == [8080, 8443]
    machine.run(*breakage.split())
    assert said in containers.command.try_run("network repair --dry-run").stdout
    containers.command("network repair")
    assert "nothing to repair" in containers.command("network repair")
    containers.command("network check")
    ask = rf"printf 'GET /group HTTP/1.0\r\n\r\n' | busybox nc -w 3 {HOST[0]} 8080"
    assert "nogroup" in machine.run("sh", "-c", ask, netns="outside")
    ask = ask.replace(HOST[0], "127.0.0.1")
    assert "nogroup" in machine.run("sh", "-c", ask)


@pytest.mark.parametrize("lost", ["/var/lib/cni/results", "/var/lib/cni/results /run/shibafu"])
def test_ports_go_also_when_what_is_remembered_was_lost(
    machine: Machine, containers: Containers, lost: str
) -> None:
    containers.start("web1", "-p 8080:80")
    machine.run("find", *lost.split(), "-mindepth", "1", "-delete")
    containers.command("stop --time 0 web1")
    assert not [rule for rule in machine.rules() if "8080" in rule]
    containers.command("rm --force web1")


def test_a_container_reaches_its_own_published_port(machine: Machine, containers: Containers) -> None:
    machine.run("sysctl", "-eqw", "net.bridge.bridge-nf-call-iptables=1")
    containers.command("network create blue --subnet 172.21.0.0/24")
    for number, network in enumerate(("bridge", "blue")):
        containers.serve(f"web{number}", f"--network {network} -p {8080 + number}:80")
        ask = rf"printf 'GET /group HTTP/1.0\r\n\r\n' | nc -w 3 {HOST[0]} {8080 + number}"
        assert "nogroup" in containers.command(f'exec web{number} sh -c "{ask}"')


def test_several_networks_or_none_or_the_hosts(machine: Machine, containers: Containers) -> None:
    containers.command("network create blue --subnet 172.21.0.0/24")
    containers.command("network create green --subnet 172.22.0.0/24 --ipv6")
    containers.start("web1", "--network blue --network green")
    links = containers.command("exec web1 ip addr")
    assert "172.21.0.2/24" in links
    assert "172.22.0.2/24" in links
    assert links.count("inet6 fd") == 1
    assert "eth0" not in containers.command("run --rm --network none alpine ip addr")
    assert "uplink" in containers.command("run --rm --network host alpine ip addr")
    said = containers.command.fail("run --rm --network nope alpine true", status=125)
    assert "there is no network nope" in said
    assert "blue, green" in said


@pytest.mark.long
def test_the_first_network_leads_out_unless_another_states_a_lower_metric(containers: Containers) -> None:
    """The world has no way back to a network that does not masquerade."""
    containers.command("network create inner --subnet 172.21.0.0/24 --no-masq")
    containers.command("network create behind --subnet 172.22.0.0/24 --no-masq --driver-opt metric=2000")
    containers.start("web1", "--network bridge --network inner")
    containers.start("web2", "--network inner --network bridge")
    containers.start("web3", "--network behind --network bridge")
    assert [containers.ping(name, OUTSIDE[0]) for name in ("web1", "web2", "web3")] == [True, False, True]
    containers.command("network disconnect inner web2")
    assert containers.ping("web2", OUTSIDE[0])
    containers.command("network disconnect bridge web1")
    assert not containers.ping("web1", OUTSIDE[0])
    containers.command("network connect bridge web1")
    assert containers.ping("web1", OUTSIDE[0])


@pytest.mark.long
def test_isolated_networks_do_not_reach_each_other(machine: Machine, containers: Containers) -> None:
    for number, name in ((1, "blue"), (2, "green")):
        containers.command(f"network create {name} --subnet 172.21.{number}.0/24 --isolate")
        containers.serve(name, f"--network {name} -p {8080 + number}:80")
        containers.start(f"{name}2", f"--network {name}")
    containers.start("plain")
    assert containers.ping("blue", "172.21.1.3")
    assert not containers.ping("blue", "172.21.2.2")
    assert not containers.ping("green", "172.21.1.2")
    assert containers.ping("plain", "172.21.2.2")
    assert containers.ping("blue", containers.address("plain"))
    assert containers.ping("blue", OUTSIDE[0])
    # What is published is for everybody.
    assert "nogroup" in containers.command(f"exec blue wget -qO- http://{HOST[0]}:8082/group")


def test_a_network_is_connected_to_a_running_container(containers: Containers) -> None:
    containers.command("network create blue --subnet 172.21.0.0/24")
    containers.start("web1")
    containers.command("network connect blue web1")
    assert "172.21.0.2/24" in containers.command("exec web1 ip addr show eth1")
    view = containers.view("web1")
    assert (view["networks"], view["addresses"]) == (["bridge", "blue"], ["172.20.0.2/24", "172.21.0.2/24"])
    said = containers.command.try_run("restart --time 0 web1").stderr
    assert "warning: web1 is no longer on network blue" in said
    assert "`shibafu network connect blue web1`" in said
    assert containers.command.endpoints("blue") == []
    assert containers.view("web1")["networks"] == ["bridge"]
    assert containers.command.try_run("restart --time 0 web1").stderr == ""


def test_the_exit_status_is_the_programs(containers: Containers) -> None:
    assert containers.command.try_run("run --rm alpine sh -c 'exit 7'").returncode == 7
    for options in ("--rm", "-d --name web1"):
        for program, status, why in (
            ("nosuchprogram", 127, '"nosuchprogram": executable file not found'),
            ("/etc/nosuchprogram", 127, "no such file or directory"),
            ("/etc/passwd", 126, "permission denied"),
            ("/etc", 126, "permission denied"),
        ):
            said = containers.command.fail(f"run {options} alpine {program}", status)
            assert why in said
            assert said.startswith("shibafu: container web1 does not start: exec:") or "-d" not in options
    for options, why in (
        ("--nosuchoption", "unrecognized arguments"),
        ("--network nowhere", "there is no network nowhere"),
        ("--network ''", "is not a valid name for a network"),
        ("-p 99999:80", "--publish:"),
        ("-w /etc/passwd", "not a directory"),
        ("--conf-dir /etc/passwd", "cannot be listed"),
    ):
        assert why in containers.command.fail(f"run --rm {options} alpine true", status=125)
    containers.start("web1", program="sh -c 'echo said; echo complained >&2; exit 3'")
    containers.wait_until("web1", "exited")
    assert containers.view("web1")["exitCode"] == 3
    assert containers.command("logs web1") == "said\ncomplained\n"
    containers.start("web2")
    assert containers.command.try_run("exec web2 sh -c 'exit 5'").returncode == 5


def test_a_container_in_the_background_is_removed_at_its_end(containers: Containers) -> None:
    containers.start("quick", "--rm", "true")
    containers.wait_until("quick", "gone")
    assert containers.command.endpoints("bridge") == []


def test_environment_volumes_user_and_directory(machine: Machine, containers: Containers) -> None:
    machine.write("/run/shared/file", "content\n")
    options = "-e A=1 -e 'B=two words' -v /run/shared:/mnt:ro -u nobody -w /tmp --hostname box"
    said = containers.command(
        f"run --rm {options} alpine sh -c 'echo $A; echo $B; cat /mnt/file; id -u; pwd; hostname'"
    )
    assert said.split("\n") == ["1", "two words", "content", "65534", "/tmp", "box", ""]
    assert "Read-only" in containers.command.fail(f"run --rm {options} alpine touch /mnt/x")


def test_a_killed_monitor_leaves_a_container_that_can_be_stopped(
    machine: Machine, containers: Containers
) -> None:
    for name in ("web1", "web2"):
        containers.start(name)
        machine.run("pkill", "-9", "-f", f"shibafu-monitor .*/{name}$")
    assert [containers.state(name) for name in ("web1", "web2")] == ["running", "running"]
    assert "is running" in containers.command.fail("start web1")
    containers.command("stop --time 0 web1")
    assert containers.state("web1") == "killed"
    containers.command("start web1")
    assert containers.ping("web1", f"{ADDRESS}3")
    machine.run("kill", "-9", str(containers.view("web2")["pid"]))
    containers.wait_until("web2", "killed")
    containers.command("rm web2")
    assert len(containers.command.endpoints("bridge")) == 1


def test_many_containers_start_at_once(containers: Containers) -> None:
    names = [f"web{number}" for number in range(8)]
    with ThreadPoolExecutor(len(names)) as pool:
        list(pool.map(containers.start, names))
    assert len({containers.address(name) for name in names}) == len(names)


def test_names_are_taken_once(containers: Containers) -> None:
    containers.start("web1")
    said = containers.command.fail("run -d --name web1 alpine sleep 600", status=125)
    assert "there is already a container web1" in said
    assert "is running" in containers.command.fail("rm web1")
    assert "there is no container web2" in containers.command.fail("stop web2")
    said = containers.command.fail("run -d --name ../x alpine sleep 600", status=125)
    assert '"../x" is not a valid name for a container' in said


def test_a_damaged_container_hides_no_other(machine: Machine, containers: Containers) -> None:
    for name in ("web1", "web2"):
        containers.start(name)
    machine.write(f"{DATA_DIR}/containers/web1/container.json", "nonsense")
    states = {view["name"]: view["state"] for view in containers.command.json("ps --all")}
    assert states == {"web1": "damaged", "web2": "running"}
    containers.command("rm --force web1")
    assert [endpoint["containerID"] for endpoint in containers.command.endpoints("bridge")] == ["web2"]


@pytest.mark.long
def test_images_of_all_kinds(machine: Machine, containers: Containers, image: Path) -> None:
    command = containers.command
    machine.run("cp", str(image), "/run/busybox.oci.tar")
    command("image import oci /run/busybox.oci.tar")
    machine.run(
        "skopeo",
        "--insecure-policy",
        "copy",
        "oci-archive:/run/busybox.oci.tar",
        "docker-archive:/run/docker.tar",
    )
    command("image import docker /run/docker.tar")
    command(f"image import copy {DATA_DIR}/images/alpine/rootfs")
    machine.run("tar", "-czf", "/run/root.tar.gz", "-C", f"{DATA_DIR}/images/alpine/rootfs", ".")
    command("image import archive /run/root.tar.gz")
    machine.run("mkdir", "/run/layout")
    machine.run("tar", "-xf", "/run/busybox.oci.tar", "-C", "/run/layout")
    command("image import layout /run/layout")
    names = ["alpine", "archive", "copy", "docker", "layout", "oci"]
    assert command("image ls --quiet").split() == names
    for name in (*names, "/run/root.tar.gz", f"{DATA_DIR}/images/alpine/rootfs"):
        assert command(f"run --rm {name} hostname"), name
    containers.start("web1")
    assert "is used by web1" in command.fail("image rm alpine")
    command("rm --force web1")
    command(f"image rm {' '.join(names)}")
    assert command("image ls --quiet") == ""
    machine.write("/run/nonsense", "nonsense")
    assert "is not a tar archive" in command.fail("image import x /run/nonsense")
    assert "there is no file" in command.fail("image import x /run/nothing")
    assert command("image ls --quiet") == ""


def test_a_container_does_not_stand_for_another_whose_id_begins_with_its_name(
    machine: Machine, containers: Containers
) -> None:
    """`disconnect blue cafe` must not take cafe01234567 off, nor `connect green cafe` put that one on."""
    run = containers.command
    run("network create blue --subnet 10.81.0.0/24")
    run("network create green --subnet 10.82.0.0/24")
    containers.start("cafe01234567", "--network blue")
    containers.start("cafe", "--network none")
    assert "cafe is not on network blue" in run.fail("network disconnect blue cafe")
    run("network connect green cafe")
    assert [endpoint["containerID"] for endpoint in run.endpoints("green")] == ["cafe"]
    assert [endpoint["containerID"] for endpoint in run.endpoints("blue")] == ["cafe01234567"]
    run("network disconnect green cafe")
    run("network disconnect blue cafe0")
    assert run.endpoints("blue") == []


def test_exec_says_in_a_sentence_what_does_not_begin(containers: Containers) -> None:
    containers.start("web1", "--network none")
    for program, said in (("nosuch", "executable file not found in $PATH"), ("/etc", "permission denied")):
        complaint = containers.command.fail(f"exec web1 {program}", status=255)
        assert said in complaint
        assert "level=error" not in complaint
    assert containers.command.fail("exec web1 sh -c 'exit 9'", status=9) == ""


def test_run_names_only_what_is_missing(containers: Containers) -> None:
    said = containers.command.fail("run", status=125)
    assert "required: IMAGE\n" in said
