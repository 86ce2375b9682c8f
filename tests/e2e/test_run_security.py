"""What a container of `shibafu run`, or a user of the machine, tries against it."""

import json
from collections.abc import Iterator

import pytest

from e2e.command import DATA_DIR, Command
from e2e.containers import begin, wait_for
from e2e.machine import Machine

# A user of the machine who has no rights, and no groups; a shell in between, since setpriv keeps root's
# rights until it executes something, and would find any path.
_STRANGER = (
    *("setpriv", "--reuid=4711", "--regid=4711", "--clear-groups", "--"),
    *("sh", "-c", 'exec "$@"', "sh"),
)


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
    assert f"runc already has another container web1, of the bundle {foreign}" in said
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
    assert "container same is already attached, by another runtime" in said
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
