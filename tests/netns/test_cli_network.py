"""`shibafu network` with real bridges, containers and rules."""

import os
import signal
import subprocess
from collections.abc import Iterator
from json import dumps, loads
from pathlib import Path
from typing import Any

import pytest

from support.command import CommandLine
from support.namespaces import Namespace
from support.suite import Suite
from support.traffic import can_reach


@pytest.fixture
def db() -> Iterator[Namespace]:
    with Namespace("db") as namespace:
        yield namespace


def inspect(shibafu: CommandLine, network: str) -> dict[str, Any]:
    (view,) = shibafu.json(f"network inspect {network}")
    assert isinstance(view, dict)
    return view


def test_a_network_from_its_making_to_its_end(
    shibafu: CommandLine, host: Namespace, web: Namespace, db: Namespace
) -> None:
    made = shibafu.json("network create blue --subnet 10.66.0.0/24")
    assert loads(Path(made["path"]).read_text())["plugins"][0]["bridge"] == "br-blue"
    assert shibafu("network ls --quiet") == "blue\n"
    assert shibafu.connect("blue", web) == "10.66.0.2"
    assert shibafu.connect("blue", db, "--ip", "10.66.0.77", "--ifname", "net0") == "10.66.0.77"
    assert can_reach(db, "10.66.0.77", web)
    assert can_reach(host, "10.66.0.1", db)

    _, row = shibafu("network ls").splitlines()
    shown = ["blue", "br-blue", "(up)", "10.66.0.0/24", "2", "2", "251", "no", "shibafu-bridge"]
    assert row.split() == shown
    view = inspect(shibafu, "blue")
    assert {(e["containerID"], e["ifname"], e["state"]) for e in view["endpoints"]} == {
        (web.name, "eth0", "up"),
        (db.name, "net0", "up"),
    }
    assert view["bridge"]["addresses"] == ["10.66.0.1/24"]
    assert view["otherPorts"] == []
    assert shibafu("network check").count("✓") == 3

    assert "has 2 containers" in shibafu.fail("network rm blue")
    shibafu.connect("blue", web, "--ifname", "eth1")
    assert "has 2 containers" in shibafu.fail("network rm blue")
    said = shibafu.fail(f"network disconnect blue {web.name} --ifname eth7")
    assert f"{web.name} has no interface eth7 on network blue" in said
    assert "its interfaces: eth0, eth1" in said
    shibafu(f"network disconnect blue {web.name}")
    assert "is not on network blue" in shibafu.fail(f"network disconnect blue {web.name}")
    shibafu("network rm blue --force")
    assert [link["ifname"] for link in loads(host.run("ip", "-j", "link"))] == ["lo"]
    assert "SHIBAFU" not in host.run("iptables-save")
    assert list(shibafu.conf_dir.iterdir()) == []
    assert not (shibafu.store / "networks" / "blue").exists()
    assert loads(db.run("ip", "-j", "link", "show", "type", "veth")) == []


def test_an_internal_network_has_no_way_out(
    shibafu: CommandLine, host: Namespace, web: Namespace, db: Namespace
) -> None:
    shibafu("network create cell --subnet 10.66.1.0/24 --internal")
    shibafu.connect("cell", web)
    address = shibafu.connect("cell", db)
    assert can_reach(db, address, web)
    assert loads(web.run("ip", "-j", "route", "show", "default")) == []
    assert loads(host.run("ip", "-j", "addr", "show", "br-cell"))[0]["addr_info"] == []
    assert "SHIBAFU" not in host.run("iptables-save")
    assert "-internal" in host.run("nft", "list", "tables")
    shibafu("network check")
    shibafu("network rm cell --force")
    assert host.run("nft", "list", "tables") == ""


def test_isolated_networks_do_not_reach_each_other(
    shibafu: CommandLine, host: Namespace, web: Namespace, db: Namespace
) -> None:
    for name, number in (("shop", 1), ("blog", 2), ("open", 3)):
        option = "" if name == "open" else "--isolate"
        shibafu(f"network create {name} --subnet 10.66.{number}.0/24 {option}")
    assert shibafu.connect("shop", web) == "10.66.1.2"
    address = shibafu.connect("blog", db)
    other = shibafu.connect("open", db, "--ifname", "eth1")
    assert "br-shop  bridge, up, isolated" in shibafu("network inspect shop")
    assert inspect(shibafu, "blog")["bridge"]["isolated"] is True
    assert inspect(shibafu, "open")["bridge"]["isolated"] is False
    assert not can_reach(db, address, web)
    assert can_reach(db, other, web)
    shibafu("network create vault --subnet 10.66.4.0/24 --isolate=strict")
    shibafu.connect("vault", web, "--ifname", "eth1")
    assert "br-vault  bridge, up, strictly isolated" in shibafu("network inspect vault")
    assert inspect(shibafu, "vault")["bridge"]["isolated"] == "strict"
    shibafu("network check")
    shibafu("network rm shop blog open vault --force")
    assert "SHIBAFU" not in host.run("iptables-save")


def test_options_reach_the_kernel(
    shibafu: CommandLine, host: Namespace, web: Namespace, db: Namespace
) -> None:
    shibafu("network create cells --subnet 10.66.2.0/24 --mtu 1400 --driver-opt portIsolation=true --no-masq")
    address = shibafu.connect("cells", db, "--mac", "02:00:00:00:00:77")
    shibafu.connect("cells", web)
    assert not can_reach(db, address, web)
    (link,) = loads(db.run("ip", "-j", "link", "show", "eth0"))
    assert (link["mtu"], link["address"]) == (1400, "02:00:00:00:00:77")
    assert "MASQUERADE" not in host.run("iptables-save")
    assert "unknown driver option" in shibafu.fail("network create x --driver-opt colour=red", status=2)
    assert "true or false" in shibafu.fail("network create x --driver-opt portIsolation=1", status=2)


def test_what_cannot_work_is_refused_and_leaves_nothing(shibafu: CommandLine) -> None:
    for options, status, said in (
        ("x --subnet 127.5.0.0/16", 2, "loopback"),
        ("x --subnet fe80::/64", 2, "link-local"),
        ("x --subnet 10.66.0.0/24 --gateway 10.66.0.255", 2, "broadcast address"),
        ("x --subnet 10.66.0.0/24 --ip-range 10.66.0.1/32", 2, "no address for a container"),
        ("x --ipv6 --mtu 1279", 1, "at least 1280"),
        ("x --bridge all", 1, "invalid bridge name"),
        ("x --bridge default", 1, "invalid bridge name"),
        ("x --driver-opt ipMasqBackend=ipfw", 2, "must be iptables or nftables"),
        ("host", 2, "choose another name"),
        ("none", 2, "choose another name"),
    ):
        assert said in shibafu.fail(f"network create {options}", status)
    assert list(shibafu.conf_dir.iterdir()) == []


def test_the_picture_shows_what_is_there(shibafu: CommandLine, host: Namespace, web: Namespace) -> None:
    shibafu("network create blue --subnet 10.66.0.0/24")
    assert "no containers" in shibafu("network inspect blue")
    shibafu.connect("blue", web)
    host.run("ip", "link", "add", "tap7", "master", "br-blue", "type", "veth", "peer", "far")
    web.run("ping", "-c1", "-W2", "10.66.0.1")
    picture = shibafu("network inspect blue")
    assert "│ br-blue  bridge, up" in picture
    assert "└─ tap7  no container's" in picture
    assert "-s 10.66.0.0/24 ! -d 224.0.0.0/4 -j MASQUERADE" in picture
    (line,) = (line for line in picture.splitlines() if web.name in line)
    assert "├─ veth" in line
    assert "──── eth0" in line
    assert "10.66.0.2/24" in line
    assert "\x1b" not in picture
    (endpoint,) = inspect(shibafu, "blue")["endpoints"]
    assert endpoint["traffic"]["txPackets"] > 0
    web.delete()
    assert "namespace gone" in shibafu("network inspect blue")


def list_faults(resources: list[dict[str, Any]]) -> list[str]:
    return [fault["what"] for resource in resources for fault in resource["faults"]]


def test_inspecting_names_what_is_wrong(
    shibafu: CommandLine, host: Namespace, web: Namespace, db: Namespace
) -> None:
    """In the words of the dry run, and of each resource what it is to be."""
    shibafu("network create blue --subnet 10.66.0.0/24 --driver-opt hairpinMode=true")
    addresses = [shibafu.connect("blue", container) for container in (web, db)]
    view = inspect(shibafu, "blue")
    shared = {resource["resource"]: resource["attributes"] for resource in view["resources"]}
    assert shared.keys() == {"bridge", "gateway", "rules", "foreignDrops"}
    assert sorted(shared["gateway"]["routes"]) == addresses
    endpoints = {endpoint["containerID"]: endpoint for endpoint in view["endpoints"]}
    own = {resource["resource"]: resource["attributes"] for resource in endpoints[db.name]["resources"]}
    assert own.keys() == {"port", "containerInterface", "carrier"}
    assert own["containerInterface"]["addresses"] == ["10.66.0.3/24"]
    resources = [*view["resources"], *(r for e in view["endpoints"] for r in e["resources"])]
    assert list_faults(resources) == []
    assert "✗" not in shibafu("network inspect blue")

    port = endpoints[web.name]["hostLink"]
    host.run("bridge", "link", "set", "dev", port, "hairpin", "off")
    host.run("sysctl", "-qw", "net.ipv4.ip_forward=0")
    web.run("ip", "route", "del", "default")
    view = inspect(shibafu, "blue")
    of_web, of_db = (
        list_faults(e["resources"])
        for name in (web, db)
        for e in view["endpoints"]
        if e["containerID"] == name.name
    )
    assert of_web == [f"hairpin mode of link {port} is off", "route to 0.0.0.0/0 is missing in the container"]
    assert of_db == []
    assert list_faults(view["resources"]) == ["forwarding of IPv4 is turned off on the host"]
    found = shibafu.json("network repair --dry-run", status=1)["faults"]
    assert {fault["what"] for fault in found} == {*of_web, *list_faults(view["resources"])}
    picture = shibafu("network inspect blue").splitlines()
    assert picture[1] == "✗ forwarding of IPv4 is turned off on the host"
    (line,) = (line for line in picture if web.name in line)
    assert line.endswith(f"✗ hairpin mode of link {port} is off (and 1 more)")


def test_watching_goes_on_until_it_is_interrupted(shibafu: CommandLine) -> None:
    shibafu("network create blue --subnet 10.66.0.0/24")
    process = shibafu.start("network", "inspect", "blue", "--watch", "--interval", "0.05", "--format", "json")
    assert process.stdout is not None
    looks = [loads(process.stdout.readline())[0]["name"] for _ in range(3)]
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=10)
    assert looks == ["blue"] * 3
    assert process.returncode == 0


def test_gc_frees_what_vanished_containers_hold(
    shibafu: CommandLine, host: Namespace, web: Namespace, db: Namespace
) -> None:
    shibafu("network create blue --subnet 10.66.0.0/24")
    shibafu.connect("blue", web)
    shibafu.connect("blue", db)
    shibafu("ipam reserve blue 10.66.0.50 --label printer")
    assert shibafu("network gc") == "nothing to free: all containers still exist\n"
    web.delete()
    # Each command leads to the next.
    advice = "`shibafu network gc blue` frees what it left behind"
    assert f"namespace gone\n  {advice}\n" in shibafu.run("network", "check", status=1)[0]
    assert f"blue, container {web.name}: namespace gone; {advice}\n" in shibafu("network repair")
    (shibafu.store / "networks" / "blue" / "10.66.0.9").write_bytes(b"stranger\r\neth0")
    freed = f"what {web.name} eth0 had: the lease of 10.66.0.2/24\n"
    left = "blue: left the leases of containers that are unknown here: 10.66.0.9\n"
    assert shibafu("network gc --dry-run").startswith(f"blue: would free {freed}{left}")
    assert shibafu("network gc").startswith(f"blue: freed {freed}{left}")
    kept = [lease["address"] for lease in shibafu.json("ipam ls")]
    assert kept == ["10.66.0.3", "10.66.0.9", "10.66.0.50"]
    assert len(inspect(shibafu, "blue")["endpoints"]) == 1
    shibafu("network check")


def attach_by_plugin(
    shibafu: CommandLine, suite: Suite, container_id: str, container: Namespace, ifname: str = "eth0"
) -> None:
    """Attach by the plugin itself, without a cached result, as a runtime with a cache of its own would."""
    config = loads((shibafu.conf_dir / "blue.conflist").read_text())
    env = {
        "CNI_COMMAND": "ADD",
        "CNI_CONTAINERID": container_id,
        "CNI_NETNS": container.path,
        "CNI_IFNAME": ifname,
        "CNI_PATH": str(suite.directory),
        "PATH": "/usr/sbin:/usr/bin",
    }
    script = f'mount --bind {shibafu.store} /var/lib/cni && exec "$0"'
    document = config["plugins"][0] | {"name": "blue", "cniVersion": "1.0.0"}
    plugin = str(suite.directory / "shibafu-bridge")
    subprocess.run(
        ["nsenter", f"--net={shibafu.host.path}", "unshare", "-m", "sh", "-c", script, plugin],
        input=dumps(document).encode(),
        env=env,
        check=True,
        capture_output=True,
    )


def test_containers_that_others_attached_are_seen(shibafu: CommandLine, suite: Suite, web: Namespace) -> None:
    shibafu("network create blue --subnet 10.66.0.0/24")
    attach_by_plugin(shibafu, suite, "elsewhere", web)
    (endpoint,) = inspect(shibafu, "blue")["endpoints"]
    assert (endpoint["containerID"], endpoint["sources"], endpoint["state"]) == (
        "elsewhere",
        ["record"],
        "up",
    )
    shibafu("network disconnect blue elsewhere")
    assert inspect(shibafu, "blue")["endpoints"] == []


def test_names_are_not_shortened_but_hexadecimal_ids_are(
    shibafu: CommandLine, suite: Suite, web: Namespace, db: Namespace
) -> None:
    """`disconnect blue web` must not take web1 off, nor `connect green web` put it on."""
    shibafu("network create blue --subnet 10.66.0.0/24")
    shibafu("network create green --subnet 10.66.1.0/24")
    ids = ("web1", "cafe1", "c0ffee" * 2 + "11", "c0ffee" * 2 + "22", "c0ffee" * 2)
    for number, container_id in enumerate(ids):
        attach_by_plugin(shibafu, suite, container_id, web, f"eth{number}")

    def connected() -> set[str]:
        return {endpoint["containerID"] for endpoint in inspect(shibafu, "blue")["endpoints"]}

    for text in ("web", "w", "cafe", "c0", "c0ffee9", "C0FFEEc0ffee1", "''"):
        assert f"{text} is not on network blue" in shibafu.fail(f"network disconnect blue {text}"), text
        assert f"no network namespace {text}" in shibafu.fail(f"network connect green {text}"), text
    for line in ("disconnect blue c0ffee", "connect green c0f"):
        said = shibafu.fail(f"network {line}")
        assert "several containers begin with c0f" in said
        assert all(container_id in said for container_id in ids[2:])
    assert connected() == set(ids)
    for text, gone in ((ids[2][:13], ids[2]), (ids[4], ids[4]), ("c0f", ids[3]), ("cafe1", "cafe1")):
        shibafu(f"network disconnect blue {text}")
        assert gone not in connected(), text
    assert connected() == {"web1"}


def test_a_namespace_does_not_stand_for_a_container_of_a_like_id(
    shibafu: CommandLine, suite: Suite, web: Namespace
) -> None:
    shibafu("network create blue --subnet 10.66.0.0/24")
    pid = str(os.getpid())
    attach_by_plugin(shibafu, suite, pid + "0" * 12, web)
    assert "is not on network blue" in shibafu.fail(f"network disconnect blue {pid}")
    shibafu(f"network disconnect blue {pid}000")


def test_a_broken_file_is_told_and_hides_nothing_from_ls(shibafu: CommandLine) -> None:
    shibafu("network create blue")
    (shibafu.conf_dir / "00-broken.conflist").write_text("{")
    out, said = shibafu.run("network", "ls", status=1)
    assert "blue" in out
    assert "00-broken.conflist" in said
    _, said = shibafu.run("network", "create", "green")
    assert "00-broken.conflist" in said
    assert "00-broken.conflist" in shibafu.fail("network rm nope")
    assert loads(shibafu.run("network", "rm", "nope", "--format", "json", status=1)[1])["error"]


def test_containers_of_the_reference_plugins_are_seen_and_repaired(
    shibafu: CommandLine, host: Namespace, web: Namespace, db: Namespace
) -> None:
    """Podman's networks are of this kind: only the cached result knows the name of the host's link."""
    ipam = {"type": "host-local", "ranges": [[{"subnet": "10.66.5.0/24"}]]}
    plugin = {"type": "bridge", "bridge": "cni7", "isGateway": True, "ipMasq": True, "ipam": ipam}
    conflist = {"cniVersion": "0.4.0", "name": "pod", "plugins": [plugin]}
    (shibafu.conf_dir / "87-pod.conflist").write_text(dumps(conflist))
    reference = "--cni-path /usr/lib/cni"
    for container in (web, db):
        shibafu(f"network connect pod {container.name} {reference}")
    view = inspect(shibafu, "pod")
    assert {(e["containerID"], e["state"], *e["sources"], *e["addresses"]) for e in view["endpoints"]} == {
        (web.name, "up", "cache", "10.66.5.2/24"),
        (db.name, "up", "cache", "10.66.5.3/24"),
    }
    assert view["otherPorts"] == []
    assert view["subnets"][0]["used"] == 2
    rules = host.run("iptables-save", "-t", "nat")
    host.run("ip", "link", "del", "cni7")
    assert {e["state"] for e in inspect(shibafu, "pod")["endpoints"]} == {"not on the bridge"}
    shibafu(f"network repair pod {reference}")
    assert {e["state"] for e in inspect(shibafu, "pod")["endpoints"]} == {"up"}
    assert can_reach(db, "10.66.5.3", web)
    assert host.run("iptables-save", "-t", "nat").count("-A") == rules.count("-A")
    shibafu(f"network rm pod --force {reference}")
    assert "10.66.5." not in host.run("iptables-save")


def test_leases_of_unknown_containers_outlive_the_network(shibafu: CommandLine, web: Namespace) -> None:
    shibafu("network create blue --subnet 10.66.0.0/24")
    shibafu.connect("blue", web)
    (shibafu.store / "networks/blue/10.66.0.9").write_bytes(b"stranger\r\neth0")
    assert "of unknown containers: 10.66.0.9" in shibafu("network rm blue --force")
    assert (shibafu.store / "networks/blue/10.66.0.9").exists()
