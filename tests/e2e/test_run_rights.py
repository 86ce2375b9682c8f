"""What a container of `shibafu run` may do: capabilities, system calls, limits, devices, volumes."""

import shlex

import pytest

from e2e.command import DATA_DIR, Command
from e2e.machine import Machine


def status(run: Command, options: str = "", name: str = "") -> dict[str, str]:
    """Return the rights of a process in a new container, or in one that is running, as proc(5) has them."""
    line = f"exec {name}" if name else f"run --rm --network none {options} alpine"
    said = run(f"{line} grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status")
    return {key: value.strip() for key, _, value in (row.partition(":") for row in said.splitlines())}


def test_default_rights(run: Command) -> None:
    found = status(run)
    assert found == {
        "CapInh": "0000000000000000",
        "CapPrm": "00000000800405fb",
        "CapEff": "00000000800405fb",
        "CapBnd": "00000000800405fb",
        "CapAmb": "0000000000000000",
        "NoNewPrivs": "0",
        "Seccomp": "2",
    }
    run("run -d --name web1 --network none alpine sleep 600")
    assert status(run, name="web1") == found


@pytest.mark.parametrize(
    ("options", "key", "value"),
    [
        ("--cap-add net_raw", "CapEff", 0x800405FB | 1 << 13),
        ("--cap-add CAP_NET_RAW,MKNOD --cap-drop chown", "CapBnd", 0x800405FA | 1 << 13 | 1 << 27),
        ("--cap-drop ALL", "CapBnd", 0),
        ("--cap-drop all --cap-add kill", "CapEff", 1 << 5),
        ("-u nobody", "CapEff", 0),
        ("-u nobody --cap-add net_bind_service", "CapEff", 1 << 10),
        ("--security-opt no-new-privileges", "NoNewPrivs", 1),
        ("--security-opt seccomp=unconfined", "Seccomp", 0),
        ("--security-opt seccomp=/usr/share/containers/seccomp.json", "Seccomp", 2),
    ],
)
def test_rights_as_asked_for(run: Command, options: str, key: str, value: int) -> None:
    assert int(status(run, options)[key], 16) == value


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--cap-add NET_ROW", 'unknown capability "NET_ROW"'),
        ("--cap-drop KILL --cap-add kill", "CAP_KILL is both added and dropped"),
        ("--security-opt seccomp=/nowhere", "the seccomp profile /nowhere cannot be used"),
        (
            "--security-opt seccomp=/dev/zero",
            "the seccomp profile /dev/zero cannot be used: is not a regular",
        ),
        ("--security-opt seccomp=/run/huge.json", "cannot be used: it is larger than 1048576 bytes"),
        ("--security-opt label=disable", 'invalid security option "label=disable"'),
    ],
)
def test_rights_that_make_no_sense_are_refused(
    machine: Machine, run: Command, options: str, message: str
) -> None:
    machine.run("truncate", "--size=1T", "/run/huge.json")
    assert message in run.fail(f"run --rm {options} alpine true", status=125)
    assert run.json("ps --all") == []


def test_no_seccomp_profile_is_not_passed_over(machine: Machine, run: Command) -> None:
    run("run --name web1 --network none alpine true")
    machine.run("mount", "-t", "tmpfs", "tmpfs", "/usr/share/containers")
    said = run.fail("run --rm --network none alpine true", status=125)
    assert "apt-get install golang-github-containers-common" in said
    assert "--security-opt seccomp=unconfined" in said
    assert [view["name"] for view in run.json("ps --all")] == ["web1"]
    for verb in ("start", "restart"):
        said = run.fail(f"{verb} web1")
        assert "apt-get install golang-github-containers-common" in said
        assert "--security-opt" not in said  # which is run's
    assert run("run --rm --network none --security-opt seccomp=unconfined alpine hostname")


def test_a_profile_is_read_once(machine: Machine, command: Command, run: Command) -> None:
    traced = Command(machine, ["strace", "-o", "/run/trace", "-e", "trace=openat", *command.argv])
    assert traced("run --rm --network none --name web1 alpine hostname") == "web1\n"
    assert machine.read("/run/trace").count("containers/seccomp.json") == 1


def test_system_calls_that_are_not_for_containers(run: Command) -> None:
    """Whatever a container's rights are; the kernel itself would say that this is no swap space."""
    line = "run --rm --network none --cap-add ALL {} alpine swapon /etc/passwd"
    assert "Operation not permitted" in run.fail(line.format(""))
    assert "Invalid argument" in run.fail(line.format("--security-opt seccomp=unconfined"))


def test_ping_needs_no_raw_sockets(machine: Machine, run: Command) -> None:
    before = machine.run("sysctl", "-n", "net.ipv4.ping_group_range")
    assert "1 received" in run("run --rm alpine ping -c1 -W1 172.20.0.1")
    run("run --rm --network host alpine true")
    assert machine.run("sysctl", "-n", "net.ipv4.ping_group_range") == before


def test_a_fork_bomb_ends_at_its_limit(run: Command) -> None:
    run("run -d --name web1 --network none alpine sleep 600")
    assert run("exec web1 cat /sys/fs/cgroup/pids/pids.max").strip() == "2048"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        # The caller's hard limits are lower than the default ones, and it cannot raise them.
        ("", {"Max open files": ["3000", "3000"], "Max processes": ["2000", "2000"]}),
        ("--ulimit nofile=100:200 --ulimit nproc=50", {"Max open files": ["100", "200"]}),
        ("--ulimit nproc=50", {"Max open files": ["3000", "3000"], "Max processes": ["50", "50"]}),
        ("--ulimit core=0 --ulimit stack=65536:-1", {"Max core file size": ["0", "0"]}),
        ("--ulimit stack=65536:unlimited", {"Max stack size": ["65536", "unlimited"]}),
    ],
)
def test_limits_of_resources(
    machine: Machine, run: Command, options: str, expected: dict[str, list[str]]
) -> None:
    """Whatever soft limits the caller has."""
    line = f"{shlex.join(run.argv)} run --rm --network none {options} alpine cat /proc/self/limits"
    caller = ["prlimit", "--nofile=1000:3000", "--nproc=1000:2000", "setpriv", "--bounding-set=-sys_resource"]
    env = {"SHIBAFU_CGROUP_PARENT": machine.cgroup, "SHIBAFU_DATA_DIR": DATA_DIR}
    said = machine.run(*caller, *shlex.split(line), env=env)
    found = {row[:24].strip(): row[24:].split()[:2] for row in said.splitlines()}
    assert {name: found[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("nofiles=1", 'unknown resource limit "nofiles"'),
        ("nofile", '"nofile" is not a resource limit'),
        ("nofile=2:1", 'the soft limit in "nofile=2:1" is above the hard one'),
    ],
)
def test_limits_that_make_no_sense_are_refused(run: Command, option: str, message: str) -> None:
    assert message in run.fail(f"run --rm --network none --ulimit {option} alpine true", status=125)
    assert run.json("ps --all") == []


def test_no_device_of_the_machine(run: Command) -> None:
    attack = "for kind in b c; do mknod /tmp/$kind $kind 1 1 && echo made; done; ls /dev"
    said = run.try_run(f"run --rm --network none alpine sh -c '{attack}'").stdout.split()
    assert "made" not in said
    assert set(said) <= {
        *(
            "core",
            "fd",
            "full",
            "mqueue",
            "null",
            "ptmx",
            "pts",
            "random",
            "shm",
            "stderr",
            "stdin",
            "stdout",
        ),
        *("tty", "urandom", "zero"),
    }
    # With the right to make one it is of no use.
    attack = "mknod /tmp/mem c 1 1 && cat /tmp/mem"
    done = run.try_run(f"run --rm --network none --cap-add MKNOD alpine sh -c '{attack}'")
    assert "Operation not permitted" in done.stderr


def test_what_is_mounted_below_a_read_only_volume_is_read_only(machine: Machine, run: Command) -> None:
    machine.run("sh", "-c", "mkdir -p /run/shared/below && mount -t tmpfs tmpfs /run/shared/below")
    machine.run("touch", "/run/shared/below/file")
    attack = "ls /mnt/below; for place in /mnt /mnt/below; do echo x >$place/file && echo written; done"
    done = run.try_run(f"run --rm --network none -v /run/shared:/mnt:ro alpine sh -c '{attack}'")
    assert done.stdout == "file\n"
    assert done.stderr.count("Read-only file system") == 2
    run("run --rm --network none -v /run/shared:/mnt alpine touch /mnt/below/written")
    assert machine.files("/run/shared") == ["/run/shared/below/file", "/run/shared/below/written"]


def test_the_callers_umask_stays_outside(machine: Machine, run: Command) -> None:
    argv = [
        *run.argv,
        "run",
        "--rm",
        "--network",
        "none",
        "--data-dir",
        DATA_DIR,
        "alpine",
        "sh",
        "-c",
        "umask",
    ]
    said = machine.run(
        "sh", "-c", 'umask 0; exec "$@"', "sh", *argv, env={"SHIBAFU_CGROUP_PARENT": machine.cgroup}
    )
    assert said == "0022\n"


@pytest.mark.parametrize("backend", [pytest.param("iptables", marks=pytest.mark.long), "nftables"])
def test_a_published_port_does_not_open_the_hosts_loopback(
    machine: Machine, run: Command, backend: str
) -> None:
    """On a network without any other rules, and from the moment the container runs."""
    # Where br_netfilter hands frames over, iptables has rules for any network.
    machine.run("sh", "-c", "for i in /proc/sys/net/bridge/bridge-nf-call-ip*; do echo 0 >$i; done")
    run(f"network create blue --subnet 172.21.0.0/24 --no-masq --driver-opt ipMasqBackend={backend}")
    run("run -d --name web1 --network blue -p 8080:80 alpine httpd -f -h /etc")
    switch = ("sysctl", "-n", "net.ipv4.conf.br-blue.route_localnet")
    assert machine.run(*switch).strip() == "1"
    (view,) = run.json("ps web1")
    machine.wait_for_listener(view["pid"])
    # What the plugin of ports has switched that on for.
    fetch = r"printf 'GET /group HTTP/1.0\r\n\r\n' | busybox nc -w 3 127.0.0.1 8080"
    assert "nogroup:x:65534" in machine.run("sh", "-c", fetch)
    inside = f"--net=/proc/{view['pid']}/ns/net"
    for line in (
        "ip addr del 127.0.0.1/8 dev lo",
        "sysctl -qw net.ipv4.conf.eth0.route_localnet=1",
        "ip route add 127.0.0.0/8 via 172.21.0.1 src 172.21.0.2",
    ):
        machine.run("nsenter", inside, *line.split())
    ping = ("nsenter", inside, "ping", "-c1", "-W1", "127.0.0.1")
    assert machine.try_run(*ping).returncode != 0
    run("network check blue")
    if backend == "nftables":
        table = next(line for line in machine.run("nft", "list", "tables").splitlines() if "shibafu" in line)
        machine.run("nft", "flush", *table.split())
    else:
        machine.run("iptables", "-t", "mangle", "-F")
    assert machine.try_run(*ping).returncode == 0
    assert "firewall rules" in run.try_run("network check blue").stdout
    run("network repair blue")
    assert machine.try_run(*ping).returncode != 0
    run("rm --force web1")
    assert machine.run(*switch).strip() == "0"
    assert machine.rules() == []
