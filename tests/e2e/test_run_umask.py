"""What a caller's umask makes of files and directories: nothing."""

import re
from pathlib import Path

import pytest

from e2e.bundles import Bundles
from e2e.command import DATA_DIR, Command
from e2e.machine import Machine
from support.suite import Suite

# What lies in images and containers has modes of its own, such as that of /tmp.
_CONTENT = re.compile(rf"{DATA_DIR}/images/[^/]+/rootfs/|{DATA_DIR}/containers/[^/]+/(rootfs|upper|image)/")
_PLACES = ("/etc", "/run", "/var")


class Caller:
    """Somebody with a umask, who calls the command.

    Args:
        machine: where.
        command: the command, called with the usual umask.
        umask: the umask, in octal.
    """

    def __init__(self, machine: Machine, command: Command, umask: str) -> None:
        self._machine = machine
        self.prefix = ["sh", "-c", f'umask {umask}; exec "$@"', "sh"]
        self.command = Command(machine, [*self.prefix, *command.argv])
        self._before = self._find_open()

    def _find_open(self) -> set[str]:
        """Return what others than its owner can write to."""
        options = ("-perm", "/022", "!", "-type", "l", "-printf", "%m %p\n")
        return set(self._machine.run("find", *_PLACES, *options).splitlines())

    def find_open(self) -> list[str]:
        """Return what there is since then that others can write to."""
        return sorted(line for line in self._find_open() - self._before if not _is_temporary(line))

    def files(self, path: str) -> str:
        """Return modes, kinds and names of all that there is in a directory."""
        return "\n".join(sorted(self._machine.run("find", path, "-printf", "%m %y %P\n").splitlines()))


def _is_temporary(line: str) -> bool:
    mode, _, path = line.partition(" ")
    # By both of its names: a test's /etc, /run and /var lie in memory.
    return mode == "1777" and _CONTENT.match(path) is not None


@pytest.fixture(params=[*(pytest.param(mask, marks=pytest.mark.long) for mask in ("000", "022")), "077"])
def caller(machine: Machine, command: Command, request: pytest.FixtureRequest) -> Caller:
    return Caller(machine, command, request.param)


def test_containers_are_nobody_elses(machine: Machine, caller: Caller) -> None:
    run = caller.command
    run("image import alpine --builtin")
    run("network create blue --subnet 10.9.0.0/24")
    read = "cat /etc/resolv.conf /etc/hosts /etc/hostname; umask"
    run(f"run -d --network blue --name web1 -u nobody alpine sh -c '{read}; exec sleep 600'")
    said = run("logs web1")
    assert "10.9.0.2\tweb1" in said
    assert said.endswith("web1\n0022\n")
    assert run("exec web1 sh -c 'umask'") == "0022\n"
    machine.netns_add("c1")
    run("network connect blue c1")
    run("ipam reserve blue 10.9.0.77")
    assert caller.find_open() == []
    run("stop --time 0 web1")
    run("start web1")
    run("restart --time 0 web1")
    # What a person has removed is made again.
    run("stop --time 0 web1")
    machine.run("rm", f"{DATA_DIR}/containers/web1/log")
    run("start web1")
    assert run(f"run --name web2 --network blue -u nobody alpine sh -c '{read}'").endswith("web2\n0022\n")
    assert caller.find_open() == []
    run("network gc")
    run("network repair")
    run("rm --force web1 web2")
    run("network disconnect blue c1")
    run("ipam release blue 10.9.0.77")
    assert caller.find_open() == []


def test_what_tells_of_containers_is_roots_alone(machine: Machine, caller: Caller) -> None:
    """Environments hold passwords; what a container reads itself may be read, by whoever gets there."""
    run = caller.command
    run("image import alpine --builtin")
    run("run -d --name web1 alpine sleep 600")
    run("run --name web2 alpine true")
    run("stop --time 0 web1")
    found = machine.run("find", DATA_DIR, "-maxdepth", "3", "-type", "f", "-printf", "%m %f\n").splitlines()
    readable = {line for line in found if not line.startswith("600 ")}
    assert readable - {"644 pid", "644 runc.log"} == {"644 resolv.conf", "644 hosts", "644 hostname"}
    directories = machine.run("find", DATA_DIR, "-maxdepth", "2", "-type", "d", "-printf", "%m\n").split()
    assert set(directories) == {"700"}
    run("rm web1 web2")


def test_images_are_as_they_were_made(
    machine: Machine, caller: Caller, command: Command, tmp_path: Path, image: Path
) -> None:
    run = caller.command
    (tmp_path / "rootfs/bin").mkdir(parents=True)
    (tmp_path / "rootfs").chmod(0o755)
    (tmp_path / "rootfs/bin").chmod(0o775)
    (tmp_path / "rootfs/bin/program").touch(0o666)
    machine.run("tar", "-cf", str(tmp_path / "bin.tar"), "-C", str(tmp_path / "rootfs"), "bin")
    machine.run("skopeo", "copy", f"oci-archive:{image}", f"docker-archive:{tmp_path}/docker.tar:a:b")
    sources = ["--builtin", f"{tmp_path}/rootfs", f"{tmp_path}/bin.tar", str(image), f"{tmp_path}/docker.tar"]
    for number, source in enumerate(sources):
        run(f"image import image{number} {source}")
        made = caller.files(f"{DATA_DIR}/images/image{number}")
        run(f"image rm image{number}")
        command(f"image import image{number} {source}")
        assert made == caller.files(f"{DATA_DIR}/images/image{number}"), source
        assert "755 d rootfs" in made.splitlines()


def test_files_of_the_hook_are_for_containers_and_nobody_else_writes_them(
    machine: Machine, caller: Caller, suite: Suite
) -> None:
    caller.command("network create blue --subnet 10.9.0.0/24")
    bundles = Bundles(machine, (suite.directory / "shibafu-bridge").resolve().parent / "shibafu-hook")
    flags = ("--sticky-dir=/run/kept/addresses",)
    bundle = bundles.write("web1", flags, network="blue", resolv_conf="names", hosts="known")
    made = {path: path.stat().st_mode & 0o777 for path in bundle.iterdir()}
    line = "exec runc run --detach --bundle /run/bundles/web1 web1 >/run/bundles/web1/log 2>&1"
    machine.run(*caller.prefix, "sh", "-c", line)
    modes = machine.run("stat", "-c", "%a", "/run/kept/addresses", "/run/kept/addresses/web1").split()
    assert modes == ["700", "600"]
    assert [(bundle / name).stat().st_mode & 0o777 for name in ("names", "known")] == [0o644, 0o644]
    assert {path: path.stat().st_mode & 0o777 for path in made} == made
    assert [line for line in caller.find_open() if "/run/bundles/" not in line] == []
    machine.run("runc", "delete", "--force", "web1")
