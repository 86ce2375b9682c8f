"""What a container of `shibafu run`, or a user of the machine, tries against it."""

import json
import re
import shlex
from collections.abc import Callable, Iterator
from subprocess import Popen
from time import monotonic, sleep

import pytest

from e2e.command import DATA_DIR, Command
from e2e.machine import Machine

# A user of the machine who has no rights, and no groups; a shell in between, since setpriv keeps root's
# rights until it executes something, and would find any path.
_STRANGER = (
    *("setpriv", "--reuid=4711", "--regid=4711", "--clear-groups", "--"),
    *("sh", "-c", 'exec "$@"', "sh"),
)


@pytest.fixture
def run(machine: Machine, command: Command) -> Iterator[Command]:
    """The command, with an image; its containers are removed in the end."""
    command("image import alpine --builtin")
    yield command
    names = " ".join(view["name"] for view in command.json("ps --all"))
    if names:
        command(f"rm --force {names}")


def mode(machine: Machine, path: str) -> str:
    """Return the permissions of a file, in octal."""
    return machine.run("stat", "-c", "%a", path).strip()


# What the container sees of the machine


@pytest.mark.parametrize("network", ["host", "none", "bridge"])
def test_no_container_leaves_its_control_groups(machine: Machine, run: Command, network: str) -> None:
    """Who gets into another group of the controller `devices` reads the machine's disks."""
    attack = (
        "for file in $(find /sys -name cgroup.procs -o -name tasks -o -name devices.allow); do "
        'echo 0 2>/dev/null >$file && echo "wrote $file"; done; '
        "mkdir /sys/fs/cgroup/*/mine 2>/dev/null && echo made; "
        "grep cgroup /proc/self/mounts; cat /proc/self/cgroup"
    )
    said = run(f"run --rm --network {network} alpine sh -c '{attack}'")
    assert "wrote" not in said
    assert "made" not in said
    # And sees no other: by a namespace of its own, in mounts that it can only read.
    lines = said.splitlines()
    mounts = [line.split() for line in lines if " cgroup" in line]
    assert mounts
    assert all("ro" in mount[3].split(",") for mount in mounts if mount[2] != "tmpfs")
    assert {line.rpartition(":")[2] for line in lines if line[0].isdigit()} == {"/"}
    assert machine.cgroup not in said


def test_sys_is_read_only_on_the_hosts_network(run: Command) -> None:
    attack = 'grep " sysfs " /proc/self/mounts; echo 1 >/sys/kernel/mm/ksm/run'
    done = run.try_run(f"run --rm --network host alpine sh -c '{attack}'")
    assert [line.split()[:2] for line in done.stdout.splitlines()] == [["sysfs", "/sys"]]
    assert done.stdout.split()[3].startswith("ro,")
    assert "Read-only file system" in done.stderr
    # It is the machine's network all the same.
    assert "uplink" in run("run --rm --network host alpine ls /sys/class/net")


# What users of the machine see of images and containers


def test_strangers_do_not_get_at_images(machine: Machine, run: Command) -> None:
    """An image's setuid program would make them root of the machine."""
    run("run -d --name web1 alpine sleep 600")
    program = f"{DATA_DIR}/images/alpine/rootfs/bin/busybox"
    machine.run("chmod", "4755", program)
    for path in (program, f"{DATA_DIR}/containers/web1/rootfs/bin/busybox"):
        done = machine.try_run(*_STRANGER, path, "id")
        assert (done.stdout, done.returncode) == ("", 126)
        assert "Permission denied" in done.stderr
    for directory in ("images/alpine/rootfs/tmp", "containers/web1/rootfs/tmp"):
        done = machine.try_run(*_STRANGER, "touch", f"{DATA_DIR}/{directory}/from-outside")
        assert done.returncode != 0
    assert run("exec web1 ls /tmp") == ""


@pytest.mark.parametrize("umask", ["000", "022"])
def test_the_data_directory_is_roots_alone(machine: Machine, command: Command, umask: str) -> None:
    line = 'umask "$1"; shift; exec "$@"'
    argv = [*command.argv, "image", "import", "alpine", "--builtin", "--data-dir", "/run/other/data"]
    machine.run("sh", "-c", line, "sh", umask, *argv)
    assert [mode(machine, f"/run/other/data{name}") for name in ("", "/images")] == ["700", "700"]


def test_a_data_directory_that_is_open_is_closed(machine: Machine, run: Command) -> None:
    run("run --name web1 alpine true")
    kinds = ("", "/images", "/containers", "/addresses")
    for kind in kinds:
        machine.run("chmod", "755", f"{DATA_DIR}{kind}")
    run("ps")
    assert {mode(machine, f"{DATA_DIR}{kind}") for kind in kinds} == {"700"}


def test_a_directory_that_others_share_stays_open(machine: Machine, run: Command) -> None:
    machine.write(f"{DATA_DIR}/something-else", "")
    machine.run("chmod", "755", DATA_DIR)
    run("ps")
    assert mode(machine, DATA_DIR) == "755"
    assert mode(machine, f"{DATA_DIR}/images") == "700"


@pytest.mark.parametrize("kind", ["/images", "/containers", "/addresses"])
def test_a_data_directory_of_somebody_else_is_refused(machine: Machine, run: Command, kind: str) -> None:
    """Who owns it puts programs into images, and bundles that name hooks into containers."""
    run("run --name web1 alpine true")
    machine.run("chown", "4711", f"{DATA_DIR}{kind}")
    assert f"{DATA_DIR}{kind} belongs to user 4711" in run.fail("start web1")
    assert f"{DATA_DIR}{kind} belongs to user 4711" in run.fail("run --rm alpine true", status=125)
    machine.run("chown", "0", f"{DATA_DIR}{kind}")


def test_a_data_directory_that_anybody_could_have_made_is_refused(machine: Machine, command: Command) -> None:
    machine.run("install", "-d", "-m", "1777", "/run/public")
    machine.run(*_STRANGER, "mkdir", "/run/public/data")
    said = command.fail("image import alpine --builtin --data-dir /run/public/data")
    assert "/run/public/data belongs to user 4711" in said
    assert machine.run("ls", "/run/public/data") == ""


def test_users_of_a_container_see_its_files(run: Command) -> None:
    """Though nobody but root gets to where they are on the machine."""
    said = run("run --rm -u nobody alpine sh -c 'id -u; cat /etc/hostname /etc/hosts /etc/resolv.conf; pwd'")
    assert said.startswith("65534\n")
    assert "172.20.0.2" in said
    run("run -d --name web1 -u nobody alpine sleep 600")
    assert run("exec -u nobody web1 id -u") == "65534\n"


# What has the name of a container, and is none of ours


@pytest.fixture
def foreign(machine: Machine, run: Command) -> Iterator[str]:
    """A container `web1` of runc that somebody else has made; its bundle."""
    bundle = "/run/foreign"
    machine.run("cp", "-a", f"{DATA_DIR}/images/alpine", bundle)
    machine.run("runc", "spec", "--bundle", bundle)
    config = json.loads(machine.read(f"{bundle}/config.json"))
    config["process"] |= {"terminal": False, "args": ["sleep", "600"], "rlimits": []}
    config["linux"]["cgroupsPath"] = f"{machine.cgroup}/foreign"
    machine.write(f"{bundle}/config.json", config)
    machine.run("sh", "-c", f"runc run --detach --bundle {bundle} web1 >/run/foreign.log 2>&1 </dev/null")
    yield bundle
    machine.run("runc", "delete", "--force", "web1")


@pytest.mark.parametrize("options", ["-d", "--rm", "-d --network none"])
def test_a_foreign_container_of_runc_is_not_touched(
    machine: Machine, run: Command, foreign: str, options: str
) -> None:
    said = run.fail(f"run {options} --name web1 alpine true", status=125)
    assert f"runc has another container web1 already, of the bundle {foreign}" in said
    assert "choose another name" in said
    assert run.json("ps --all") == []
    assert json.loads(machine.run("runc", "state", "web1"))["status"] == "running"


def test_a_foreign_container_that_came_later_is_not_touched(machine: Machine, run: Command) -> None:
    run("run --network none --name web1 alpine true")
    bundle = "/run/foreign"
    machine.write("/run/runc/web1/state.json", {"config": {"labels": [f"bundle={bundle}"]}})
    assert "another container web1" in run.fail("start web1")
    run("rm web1")
    assert machine.files("/run/runc/web1") == ["/run/runc/web1/state.json"]
    machine.run("rm", "-r", "/run/runc/web1")


def test_two_data_directories_do_not_mistake_their_containers(machine: Machine, run: Command) -> None:
    run("run -d --name web1 alpine sleep 600")
    other = "--data-dir /run/other"
    run(f"image import alpine --builtin {other}")
    said = run.fail(f"run -d --name web1 {other} alpine true", status=125)
    assert f"of the bundle {DATA_DIR}/containers/web1" in said
    assert run("exec web1 echo alive") == "alive\n"


def test_a_container_of_a_root_that_nobody_looks_at_keeps_its_network(machine: Machine, run: Command) -> None:
    run("run -d --name same alpine sleep 600")
    machine.run("sh", "-c", "mkdir /run/elsewhere && mv /run/shibafu-runc/same /run/elsewhere")
    other = "--data-dir /run/other"
    run(f"image import alpine --builtin {other}")
    said = run.fail(f"run -d --name same {other} alpine sleep 60", status=125)
    assert "container same is attached already, from another runtime" in said
    assert "choose another name" in said
    machine.run("mv", "/run/elsewhere/same", "/run/shibafu-runc")
    assert "1 received" in run("exec same ping -c1 -W1 172.20.0.1")


def test_a_container_of_an_earlier_version_is_stopped_and_removed(machine: Machine, run: Command) -> None:
    """Its state is in runc's own root, and its monitor looks for it there."""
    for name in ("web1", "web2"):
        run(f"run -d --name {name} alpine sleep 600")
        machine.run("pkill", "-9", "-f", f"shibafu-monitor .*/{name}$")
    machine.run("mkdir", "-p", "/run/runc")
    machine.run("sh", "-c", "mv /run/shibafu-runc/* /run/runc")
    assert {view["state"] for view in run.json("ps")} == {"running"}
    assert run("exec web1 hostname") == "web1\n"
    run("stop --time 0 web1")
    run("start web1")
    assert machine.run("ls", "/run/shibafu-runc", "/run/runc").split() == [
        *("/run/runc:", "web2"),
        *("/run/shibafu-runc:", "web1"),
    ]
    run("rm --force web2")
    assert machine.run("ls", "/run/runc") == ""


def test_what_a_killed_runc_left_is_in_nobodys_way(machine: Machine, run: Command) -> None:
    machine.run("mkdir", "-p", "/run/shibafu-runc/web1")
    assert run("run --rm --name web1 alpine hostname") == "web1\n"


def test_only_root_sees_the_states(machine: Machine, run: Command) -> None:
    run("run -d --name web1 alpine sleep 600")
    assert mode(machine, "/run/shibafu-runc") == "700"


# What a container has put where its passwd and group were


def begin(machine: Machine, run: Command, line: str, setup: str = "") -> tuple["Popen[str]", str]:
    """Begin to run a line of the command behind one of the shell; return it and its number in the machine."""
    machine.run("rm", "-f", "/run/number")
    run_it = f'{setup or ":"}; echo $$ >/run/number; exec "$@"'
    env = ["env", f"SHIBAFU_CGROUP_PARENT={machine.cgroup}", f"SHIBAFU_DATA_DIR={DATA_DIR}"]
    process = machine.start(*env, "sh", "-c", run_it, "sh", *run.argv, *shlex.split(line))
    return process, wait_for(lambda: machine.try_run("cat", "/run/number").stdout).strip()


def wait_for(look: Callable[[], str]) -> str:
    """Look until there is something, and return it."""
    deadline = monotonic() + 20
    while not (found := look()):
        assert monotonic() < deadline
        sleep(0.05)
    return found


def find_waiting(machine: Machine) -> str:
    """Return the numbers of the processes of runc that have not become a container's program."""
    return machine.try_run("pgrep", "-f", "runc init$").stdout


@pytest.mark.parametrize("file", ["passwd", "group"])
@pytest.mark.parametrize(
    "attack", ["mkfifo /etc/{}", "mkfifo /run/x; ln -s ../../../run/x /etc/{}", "ln -s /dev/zero /etc/{}"]
)
def test_exec_and_restart_do_not_wait_for_a_fifo(run: Command, file: str, attack: str) -> None:
    run("run -d --network none --name web1 alpine sleep 600")
    run(f"exec web1 sh -c 'mkdir -p /run; rm /etc/{file}; {attack.format(file)}'")
    said = run.fail("exec web1 true", status=255)
    assert f"/etc/{file} of container web1 is no regular file" in said
    (view,) = run.json("ps")
    assert view["since"] > 1_000_000_000
    assert f"/etc/{file} of container web1 is no regular file" in run.fail("restart --time 0 web1")
    assert [view["state"] for view in run.json("ps --all")] == ["exited"]
    run("rm web1")


def test_exec_looks_at_files_of_the_container_alone(machine: Machine, run: Command) -> None:
    machine.run("mkfifo", "/run/outside")
    run("run -d --network none --name web1 alpine sleep 600")
    run("exec web1 sh -c 'rm /etc/passwd /etc/group; ln -s /run/outside /etc/passwd; ln -s group /etc/group'")
    assert run("exec web1 echo fine") == "fine\n"


@pytest.fixture
def trap(machine: Machine, run: Command) -> str:
    """A container that makes the FIFO when exec has looked; a line of the shell that has it do so."""
    run("run -d --network none --name web1 alpine sleep 600")
    passwd = f"{DATA_DIR}/containers/web1/rootfs/etc/passwd"
    real = machine.run("sh", "-c", "command -v runc").strip()
    script = f'#!/bin/sh\nrm -f {passwd}; mkfifo {passwd}; exec {real} "$@"\n'
    machine.write("/run/trap/runc", script)
    machine.run("chmod", "755", "/run/trap/runc")
    return "PATH=/run/trap:$PATH"


def test_a_signal_ends_an_exec_that_has_not_begun(machine: Machine, run: Command, trap: str) -> None:
    process, number = begin(machine, run, "exec --interactive web1 true", trap)
    wait_for(lambda: find_waiting(machine))
    machine.run("kill", "-TERM", number)
    said, _ = process.communicate(timeout=5)
    assert "SIGTERM came before the program began" in said
    assert process.returncode == 255
    assert find_waiting(machine) == ""
    assert [view["state"] for view in run.json("ps")] == ["running"]


def test_an_exec_that_does_not_begin_is_ended(machine: Machine, run: Command, trap: str) -> None:
    process, _ = begin(machine, run, "exec web1 true", trap)
    said, _ = process.communicate(timeout=60)
    assert "the program does not begin in container web1 within 10 s" in said
    assert process.returncode == 255
    assert find_waiting(machine) == ""


def test_signals_reach_a_program_of_exec(machine: Machine, run: Command) -> None:
    run("run -d --network none --name web1 alpine sleep 600")
    program = 'trap "echo caught; exit 7" USR1; touch /tmp/ready; while :; do sleep 0.1; done'
    process, number = begin(machine, run, f"exec web1 sh -c '{program}'")
    ready = f"{DATA_DIR}/containers/web1/rootfs/tmp/ready"
    wait_for(lambda: machine.try_run("ls", ready).stdout)
    assert machine.run("sh", "-c", f"ls {DATA_DIR}/containers/web1/exec-*")
    machine.run("kill", "-USR1", number)
    said, _ = process.communicate(timeout=20)
    assert (said, process.returncode) == ("caught\n", 7)
    assert machine.try_run("sh", "-c", f"ls {DATA_DIR}/containers/web1/exec-*").stdout == ""


@pytest.mark.parametrize("volume", ["/run/etc/passwd:/etc/passwd", "/run/etc:/etc"])
def test_a_volume_is_looked_at_too(machine: Machine, run: Command, volume: str) -> None:
    machine.run("sh", "-c", "mkdir /run/etc && mkfifo /run/etc/passwd")
    said = run.fail(f"run --rm --network none --name web1 -v {volume} alpine true", status=125)
    assert "/etc/passwd of container web1 is no regular file" in said


def test_a_container_that_waits_is_young_and_can_be_removed(
    machine: Machine, run: Command, trap: str
) -> None:
    """As one whose volume others write to meanwhile."""
    run("rm --force web1")
    process, _ = begin(machine, run, "run -d --network none --name web1 alpine true", trap)
    wait_for(lambda: find_waiting(machine))
    (view,) = run.json("ps")
    assert re.fullmatch(r"up \d+ s", view["status"])
    run("rm --force web1")
    process.communicate(timeout=20)
    assert process.returncode == 125
    assert run.json("ps --all") == []


# What killed commands leave


def test_a_container_outlives_its_killed_run(machine: Machine, run: Command) -> None:
    process, number = begin(machine, run, "run --rm --network none --name web1 alpine sleep 600")
    wait_for(lambda: machine.try_run("pgrep", "-fx", "sleep 600").stdout)
    machine.run("kill", "-KILL", number)
    process.wait(20)
    assert [view["state"] for view in run.json("ps")] == ["running"]
    run("stop --time 0 web1")
    assert [view["state"] for view in run.json("ps --all")] == ["killed"]
    run("rm web1")


def test_a_killed_import_leaves_nothing_for_good(machine: Machine, run: Command) -> None:
    machine.run("mkfifo", "/run/archive")
    left = ["find", f"{DATA_DIR}/images", "-maxdepth", "1", "-name", ".*-*"]
    for clear in ("image ls", "image import other --builtin", "image rm other"):
        process, number = begin(machine, run, "image import big /run/archive")
        wait_for(lambda: machine.run(*left))
        run("image ls")
        assert machine.run(*left)  # it is in use
        machine.run("kill", "-KILL", number)
        process.wait(20)
        run(clear)
        assert machine.run(*left) == ""
    assert [view["name"] for view in run.json("image ls")] == ["alpine"]


# What a container may do


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
        ("--cap-add NET_ROW", 'there is no capability "NET_ROW"'),
        ("--cap-drop KILL --cap-add kill", "CAP_KILL is both added and dropped"),
        ("--security-opt seccomp=/nowhere", "the seccomp profile /nowhere cannot be used"),
        (
            "--security-opt seccomp=/dev/zero",
            "the seccomp profile /dev/zero cannot be used: is not a regular",
        ),
        ("--security-opt seccomp=/run/huge.json", "cannot be used: it has more than 1048576 bytes"),
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
        ("nofiles=1", 'there is no resource limit "nofiles"'),
        ("nofile", '"nofile" is no resource limit'),
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


@pytest.mark.parametrize("backend", ["iptables", "nftables"])
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
    # What the plugin of ports has switched that on for.
    fetch = r"printf 'GET /group HTTP/1.0\r\n\r\n' | busybox nc -w 3 127.0.0.1 8080"
    assert "nogroup:x:65534" in machine.run("sh", "-c", fetch)
    (view,) = run.json("ps web1")
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
