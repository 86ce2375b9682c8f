"""`shibafu run` and its like, with real runc and real traffic."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from e2e.command import DATA_DIR
from e2e.containers import Containers
from e2e.machine import Machine


def test_a_container_in_the_foreground_leaves_nothing(machine: Machine, containers: Containers) -> None:
    said = containers.command("run --rm --network bridge alpine ping -c1 172.20.0.1")
    assert "1 received" in said
    assert containers.state("web1") == "gone"
    assert machine.leftovers() == []
    assert machine.files(f"{DATA_DIR}/addresses") == []  # nobody chose its name


def test_what_a_container_has_written_outlives_its_end(containers: Containers) -> None:
    containers.start("web1", program="sh -c 'echo kept >>/root/file; sleep 600'")
    containers.command("restart --time 0 web1")
    assert containers.command("exec web1 cat /root/file").split() == ["kept", "kept"]
    assert containers.command("run --rm alpine ls /root") == ""  # and is nobody else's


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
    assert containers.ping("web1", "172.20.0.3")
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
