"""Containers of runc that get their networks from shibafu-hook."""

import json
from collections.abc import Mapping
from pathlib import Path
from time import monotonic, sleep

import pytest

from e2e.bundles import Bundles
from e2e.machine import CNI_PATH, OUTSIDE, Machine
from support.suite import Suite

RANGE = {"subnet": "10.80.0.0/24"}
BLUE: Mapping[str, object] = {
    "type": "shibafu-bridge",
    "bridge": "blue0",
    "isDefaultGateway": True,
    "ipMasq": True,
    "capabilities": {"ips": True, "mac": True},
    "dns": {"nameservers": ["192.0.2.53"], "search": ["blue.test"]},
    "ipam": {"type": "shibafu-ipam", "ranges": [[RANGE], [{"subnet": "fd80::/64"}]]},
}
GREEN: Mapping[str, object] = {
    "type": "shibafu-bridge",
    "bridge": "green0",
    "ipam": {"type": "shibafu-ipam", "ranges": [[{"subnet": "10.81.0.0/24"}]]},
}
PORTMAP: Mapping[str, object] = {"type": "portmap", "capabilities": {"portMappings": True}}
BROKEN: Mapping[str, object] = {"type": "tuning", "sysctl": {"kernel.hostname": "x"}}


@pytest.fixture
def hook(suite: Suite) -> Path:
    return (suite.directory / "shibafu-bridge").resolve().parent / "shibafu-hook"


@pytest.fixture
def bundles(machine: Machine, hook: Path) -> Bundles:
    machine.network_write("blue", BLUE, version="1.1.0")
    machine.network_write("green", GREEN, version="1.1.0")
    return Bundles(machine, hook)


def test_two_containers_reach_each_other_and_the_world(machine: Machine, bundles: Bundles) -> None:
    machine.serve("outside")
    for name in ("web1", "web2"):
        bundles.write(name, network="blue,green")
        bundles.start(name)

    assert bundles.addresses("web1") == {
        "lo": ["127.0.0.1", "::1"],
        "eth0": ["10.80.0.2", "fd80::2"],
        "eth1": ["10.81.0.2"],
    }
    for address in ("10.80.0.3", "fd80::3", "10.81.0.3", "10.80.0.1", "127.0.0.1", OUTSIDE[0]):
        assert "1 packets received" in bundles.run("web1", "ping", "-c1", "-W2", address)
    assert bundles.run("web1", "ping", "-c1", "-W2", "web1")
    for name in ("web1", "web2"):
        bundles.remove(name)


def test_writes_what_names_mean(bundles: Bundles) -> None:
    bundle = bundles.write("web1", network="green,blue")
    (bundle / "hosts").write_text("192.0.2.7\tfriend\n")
    bundles.start("web1")
    assert bundles.run("web1", "cat", "/etc/resolv.conf") == "nameserver 192.0.2.53\nsearch blue.test\n"
    assert bundles.run("web1", "cat", "/etc/hosts").splitlines() == [
        "192.0.2.7\tfriend",
        "10.81.0.2\tweb1\t# shibafu",
        "10.80.0.2\tweb1\t# shibafu",
        "fd80::2\tweb1\t# shibafu",
    ]
    bundles.remove("web1")


def test_annotations_say_what_the_container_gets(machine: Machine, bundles: Bundles) -> None:
    machine.network_write("blue", BLUE, PORTMAP)
    bundles.write("web1", network="blue", ip="10.80.0.77,fd80::77", mac="02:00:5e:00:00:01", ports="8080:80")
    bundles.start("web1")
    assert bundles.addresses("web1")["eth0"] == ["10.80.0.77", "fd80::77"]
    assert "02:00:5e:00:00:01" in bundles.run("web1", "ip", "link", "show", "eth0")
    assert any("--dport 8080" in rule or "--dports 8080" in rule for rule in machine.rules())
    bundles.remove("web1")


def test_annotations_change_flags_where_they_are_allowed_to(machine: Machine, bundles: Bundles) -> None:
    flags = ("--network=green", "--ip", "10.81.0.44", f"--cni-path={CNI_PATH}")
    allowed = (*flags, "--allow=ip=10.81.0.55|10.81.0.56")
    bundles.write("web1", flags)
    bundles.write("web2", allowed, ip="10.81.0.55")
    for name, address in (("web1", "10.81.0.44"), ("web2", "10.81.0.55")):
        bundles.start(name)
        assert bundles.addresses(name)["eth0"] == [address]
        bundles.remove(name)
    for used, asked in (
        (flags, {"ip": "10.81.0.55"}),
        (flags, {"ip.green": "10.81.0.55"}),
        (flags, {"network": "blue"}),
        (flags, {"ports": "22:22"}),
        (allowed, {"ip": "10.81.0.57"}),
        ((), {"network": "green", "mac": "02:00:00:00:00:01;IP=10.81.0.66;K8S_POD_NAMESPACE=x"}),
    ):
        bundles.write("web3", used, **asked)
        done = bundles.try_start("web3")
        assert done.returncode != 0
        assert "shibafu-hook: " in done.stdout
        assert "Traceback" not in done.stdout
        assert machine.leftovers() == []


@pytest.mark.parametrize("key", ["hosts", pytest.param("resolv-conf", marks=pytest.mark.long)])
def test_annotations_write_nothing_outside_of_the_bundle(
    machine: Machine, bundles: Bundles, key: str
) -> None:
    """What a container may have put into its root file system on an earlier start leads nowhere."""
    victim = "/run/bundles/victim"
    bundle = bundles.write("web1", network="blue")
    machine.write(victim, "mine\n")
    for command in (
        f"ln -s {victim} rootfs/link; ln -s .. rootfs/up; ln {victim} hard; mkfifo fifo; mknod disk b 7 0",
        f"ln -s {victim} link; ln -s /proc/1/root root; ln -s rootfs to",
    ):
        machine.run("sh", "-c", f"cd /run/bundles/web1 && {command}")
    for path in (
        *(victim, "../victim", "rootfs/link", "rootfs/new", "rootfs/up/hosts", "hard", "fifo", "disk"),
        *("link", "root/run/bundles/victim", "to/new", "/proc/self/root/run/bundles/victim"),
    ):
        config = json.loads((bundle / "config.json").read_text())
        config["annotations"] = {"org.shibafu.network": "blue", f"org.shibafu.{key}": path}
        (bundle / "config.json").write_text(json.dumps(config))
        done = bundles.try_start("web1")
        assert done.returncode != 0, path
        assert "shibafu-hook: " in done.stdout, path
        assert "Traceback" not in done.stdout
        assert machine.run("cat", victim) == "mine\n"
        assert not (bundle / "rootfs/new").exists()
        assert machine.leftovers() == []


# How a container gets hold of the directory above its bundle, whatever that is called where it is mounted
# from: in words of a shell, what lies at /run/bundles; options and source of the container's mount.
ALIASES = {
    "itself": ("", ["rbind", "rw"], "/run/bundles"),
    "above": ("", ["rbind", "rw"], "/run"),
    "an alias": ("mount --bind /run/bundles /run/alias", ["bind"], "/run/alias"),
    "above an alias": ("mount --bind /run/real/in /run/bundles", ["rbind", "rw"], "/run/real"),
    "an alias of an alias": (
        "mount --bind /run/real/in /run/alias && mount --bind /run/alias /run/bundles",
        ["bind"],
        "/run/real",
    ),
    "a link": (
        "mount --bind /run/real/in /run/bundles && ln -s real /run/link",
        ["rbind"],
        "/run/link/in/..",
    ),
    "a strange name": (
        "mkdir -p '/run/re al\\x/in' && mount --bind '/run/re al\\x/in' /run/bundles",
        ["rbind"],
        "/run/re al\\x",
    ),
    "a mount below": ("mount --bind /run/bundles /run/real/in", ["rbind", "rw"], "/run/real"),
    "a mount below a read-only one": ("mount --bind /run/bundles /run/real/in", ["rbind", "ro"], "/run/real"),
    "writable after all": ("mount --bind /run/real/in /run/bundles", ["rbind", "ro", "rrw"], "/run/real"),
    "a mount over another": (
        "mount -t tmpfs tmpfs /run/bundles && mount --bind /run/real/in /run/bundles",
        ["rbind"],
        "/run/real",
    ),
}


@pytest.mark.parametrize("case", ALIASES)
def test_annotations_name_no_file_below_what_the_container_writes(
    machine: Machine, bundles: Bundles, case: str
) -> None:
    setup, options, source = ALIASES[case]
    machine.run("sh", "-c", f"mkdir -p /run/bundles /run/alias /run/real/in && {setup or 'true'}")
    bundle = bundles.write("web1", network="blue", hosts="names")
    add_mount(bundle, source, options)
    done = bundles.try_start("web1")
    assert done.returncode != 0
    assert "names belongs to the container, the engine or the host" in done.stdout
    assert not (bundle / "names").exists()
    assert machine.leftovers() == []

    # It does write there: without the annotation it starts, and does what would lead the hook elsewhere.
    config = json.loads((bundle / "config.json").read_text())
    del config["annotations"]["org.shibafu.hosts"]
    (bundle / "config.json").write_text(json.dumps(config))
    bundles.start("web1")
    swap = 'cd "$(dirname "$(find /mnt -name config.json | head -n 1)")" && ln -s /etc/passwd names'
    bundles.run("web1", "sh", "-c", swap)
    assert (bundle / "names").is_symlink()
    bundles.remove("web1")


def test_annotations_name_a_file_beside_what_the_container_writes(machine: Machine, bundles: Bundles) -> None:
    """Mounts of other directories, of files, and of what is above for reading, are nothing to refuse."""
    setup = """mkdir -p /run/bundles /run/bundled /run/real/in /run/data/in && touch /run/file
        mount --bind /run/real/in /run/bundles
        mount -t tmpfs tmpfs /run/data/in && mount --bind /run/data/in /run/real"""
    machine.run("sh", "-ec", setup)
    bundle = bundles.write("web1", network="blue", hosts="names", resolv_conf="servers")
    for source in ("/run/bundled", "/run/data", "/run/file", "/run/real"):
        add_mount(bundle, source, ["rbind", "rw"])
    add_mount(bundle, "/run", ["bind", "ro"])
    bundles.start("web1")
    assert "10.80.0.2\tweb1" in (bundle / "names").read_text()
    assert (bundle / "servers").read_text() == "nameserver 192.0.2.53\nsearch blue.test\n"
    bundles.remove("web1")


def add_mount(bundle: Path, source: str, options: list[str]) -> None:
    """Mount something of the host into a container, below /mnt."""
    config = json.loads((bundle / "config.json").read_text())
    destination = f"/mnt/{len(config['mounts'])}"
    config["mounts"].append(
        {"destination": destination, "type": "bind", "source": source, "options": options}
    )
    (bundle / "config.json").write_text(json.dumps(config))


# What another container swaps while the hook runs, below the directory of bundles, and for what.
SWAPS = {
    "the file": ("web1/sub/names", "/run/victim/names"),
    "its directory": ("web1/sub", "/run/victim"),
    "the bundle": ("web1", "/run/victim/web1"),
}
SWAP = """cd /mnt/*/$(dirname $1) && name=$(basename $1) && touch aside.started
while [ -e aside.started ]; do
    mv $name aside; ln -s $2 $name; sleep 0; rm $name; mkfifo $name; rm $name; mv aside $name
done"""


@pytest.mark.parametrize("case", SWAPS)
def test_a_race_for_the_annotated_file_leads_nowhere(machine: Machine, bundles: Bundles, case: str) -> None:
    """Another container has the bundles mounted, and swaps files and directories while the hook runs."""
    path, target = SWAPS[case]
    attacker = bundles.write("attacker", network="none")
    bundle = bundles.write("web1", network="blue", hosts="sub/names")
    machine.run("sh", "-c", "mkdir -p /run/bundles/web1/sub /run/victim/web1/sub")
    for file in ("/run/victim/names", "/run/victim/web1/names", "/run/victim/web1/sub/names"):
        machine.write(file, "mine\n")
    machine.run("cp", "/run/bundles/web1/config.json", "/run/victim/web1/config.json")
    (bundle / "sub/names").touch()
    add_mount(attacker, "/run/bundles", ["rbind", "rw"])
    bundles.start("attacker")
    attack = machine.start("runc", "exec", "attacker", "sh", "-c", SWAP, "sh", path, target)
    flag = machine.root / "run/bundles" / Path(path).parent / "aside.started"
    while not flag.exists():
        assert attack.poll() is None
        sleep(0.01)
    log = machine.root / "run/log"
    for _ in range(6):
        line = "runc run --detach --bundle /run/bundles/web1 web1 >>/run/log 2>&1; runc delete --force web1"
        machine.try_run("sh", "-c", line)
    flag.unlink()
    attack.communicate()
    assert "Traceback" not in log.read_text()
    for file in ("/run/victim/names", "/run/victim/web1/names", "/run/victim/web1/sub/names"):
        assert machine.read(file) == "mine\n"
    bundles.remove("attacker")


def test_a_hostname_writes_one_line(machine: Machine, bundles: Bundles) -> None:
    bundle = bundles.write("web1", network="blue")
    config = json.loads((bundle / "config.json").read_text())
    config["hostname"] = "a\n192.0.2.1\tbank.test"
    (bundle / "config.json").write_text(json.dumps(config))
    done = bundles.try_start("web1")
    assert done.returncode != 0
    assert "bank.test" not in (bundle / "hosts").read_text()
    assert machine.leftovers() == []


def test_a_killed_container_is_detached_when_it_is_deleted(machine: Machine, bundles: Bundles) -> None:
    bundles.write("web1", network="blue")
    bundles.start("web1")
    pid = bundles.state("web1")["pid"]
    machine.run("kill", "-9", str(pid))
    deadline = monotonic() + 5
    while bundles.state("web1")["status"] != "stopped":
        assert monotonic() < deadline
        sleep(0.02)
    assert machine.leases()
    machine.run("runc", "delete", "web1")
    assert machine.leases() == []


def test_a_container_that_was_lost_gives_way_to_its_successor(machine: Machine, bundles: Bundles) -> None:
    """As after a crash of the machine's manager: no poststop, and the same ID again."""
    bundles.write("web1", network="blue")
    bundles.start("web1")
    machine.run("kill", "-9", str(bundles.state("web1")["pid"]))
    machine.run("sh", "-c", "sleep 0.2; rm -r /run/runc/web1")
    bundles.start("web1")
    assert len(machine.leases()) == 2
    bundles.remove("web1")


@pytest.mark.parametrize("network", ["blue", "green", "green,blue"])
def test_a_container_of_another_root_is_left_alone(machine: Machine, bundles: Bundles, network: str) -> None:
    """Each root of runc has IDs of its own, networks have not."""
    bundles.write("first", network="blue")
    other = ["runc", "--root", "/run/other"]
    line = f"exec {' '.join(other)} run -d --bundle /run/bundles/first same >/run/bundles/log 2>&1"
    machine.run("sh", "-c", line)
    ping = [*other, "exec", "same", "ping", "-c1", "-W2", "10.80.0.1"]
    assert "1 packets received" in machine.run(*ping)
    before = (machine.leases(), machine.records(), machine.rules())

    bundles.write("same", network=network)
    done = bundles.try_start("same")
    assert done.returncode != 0
    assert "shibafu-hook: container same is already attached, by another runtime" in done.stdout
    assert "choose another name" in done.stdout
    assert "1 packets received" in machine.run(*ping)
    assert (machine.leases(), machine.records(), machine.rules()) == before

    machine.run(*other, "delete", "--force", "same")
    assert machine.leftovers() == []
    bundles.start("same")
    bundles.remove("same")
    assert machine.leftovers() == []


def test_poststop_leaves_another_container_alone(machine: Machine, bundles: Bundles) -> None:
    """As of one that was attached before others of its ID were refused, or by somebody who does not ask."""
    bundles.write("same", network="blue")
    bundles.start("same")
    state = json.dumps(
        {"ociVersion": "1.0.2", "id": "same", "status": "stopped", "bundle": "/run/bundles/same"}
    )
    machine.run(str(bundles.hook), f"--cni-path={CNI_PATH}", stdin=state)
    assert "1 packets received" in bundles.run("same", "ping", "-c1", "-W2", "10.80.0.1")
    bundles.remove("same")
    assert machine.leftovers() == []


def test_a_container_whose_chain_fails_is_not_created(machine: Machine, bundles: Bundles) -> None:
    machine.network_write("bad", GREEN, BROKEN)
    bundles.write("web1", network="blue,bad")
    done = bundles.try_start("web1")
    assert done.returncode != 0
    sentence = 'shibafu-hook: cannot attach web1 to network "bad": plugin type="tuning" failed (add): '
    assert sentence in done.stdout.replace("\\", "")
    assert machine.leftovers() == []


def test_an_unknown_network_is_told_in_one_sentence(machine: Machine, bundles: Bundles) -> None:
    bundles.write("web1", network="nope")
    done = bundles.try_start("web1")
    assert done.returncode != 0
    assert 'no net configuration with name "nope" in /etc/cni/net.d' in done.stdout.replace("\\", "")
    assert "Traceback" not in done.stdout
