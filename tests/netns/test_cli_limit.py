"""`shibafu network limit`: what a running container may receive and send, changed."""

from json import dumps, loads
from typing import Any

import pytest

from support.command import CommandLine
from support.namespaces import Namespace
from support.throughput import MBIT, measure

GATEWAY = "10.66.0.1"


def find_delay_links(host: Namespace) -> list[str]:
    return [link["ifname"] for link in loads(host.run("ip", "-j", "link", "show", "type", "ifb"))]


def read_cache(shibafu: CommandLine, name: str = "eth0") -> dict[str, Any]:
    (path,) = shibafu.cache_dir.glob(f"*-{name}")
    cached: dict[str, Any] = loads(path.read_text())
    return cached


def limit_network(shibafu: CommandLine, **keys: object) -> None:
    """Put a plugin that limits all containers to the end of the network's chain."""
    path = shibafu.conf_dir / "blue.conflist"
    network = loads(path.read_text())
    network["plugins"].append({"type": "shibafu-bandwidth"} | keys)
    path.write_text(dumps(network))


@pytest.mark.usefixtures("blue")
def test_a_container_s_limits_from_the_first_to_none(
    shibafu: CommandLine, host: Namespace, web: Namespace
) -> None:
    """On a network that says nothing of limits."""
    address = shibafu.connect("blue", web)
    attached = read_cache(shibafu)["result"]
    said = shibafu(f"network limit {web.name} --ingress 10M --egress 20M")
    assert said == (
        f"{web.name}: eth0 on network blue receives at most 10 Mbit/s and sends at most 20 Mbit/s\n"
    )
    assert measure(host, web, address, 10 * MBIT) == pytest.approx(1, abs=0.1)
    assert measure(web, host, GATEWAY, 20 * MBIT) == pytest.approx(1, abs=0.1)
    assert shibafu("network check").count("✓") == 2
    assert "receives at most 10 Mbit/s and sends at most 20 Mbit/s" in shibafu("network inspect blue")
    (name,) = find_delay_links(host)
    assert read_cache(shibafu)["result"]["interfaces"][-1]["name"] == name

    # What is not stated stays.
    told = shibafu.json(f"network limit {web.name} --egress 100M:8M --network blue --ifname eth0")
    assert told == {
        "network": "blue",
        "containerID": web.name,
        "ifname": "eth0",
        "ingress": {"rate": 10 * MBIT, "burst": 8 << 16},
        "egress": {"rate": 100 * MBIT, "burst": 8 * MBIT},
    }
    assert measure(web, host, GATEWAY, 100 * MBIT) == pytest.approx(1, abs=0.1)
    assert find_delay_links(host) == [name]

    assert "sends without a limit" in shibafu(f"network limit {web.name} --egress 0")
    assert find_delay_links(host) == []
    assert read_cache(shibafu)["result"] == attached
    assert measure(host, web, address, 10 * MBIT) == pytest.approx(1, abs=0.1)
    assert "receives without a limit" in shibafu(f"network limit {web.name} --ingress 0")
    assert "tbf" not in host.run("tc", "qdisc")
    assert read_cache(shibafu)["result"] == attached
    assert shibafu("network check").count("✓") == 2


@pytest.mark.usefixtures("blue")
def test_disconnecting_removes_limits(shibafu: CommandLine, host: Namespace, web: Namespace) -> None:
    shibafu.connect("blue", web)
    shibafu(f"network limit {web.name} --egress 20M")
    assert len(find_delay_links(host)) == 1
    shibafu(f"network disconnect blue {web.name}")
    assert find_delay_links(host) == []


@pytest.mark.usefixtures("blue")
def test_gc_removes_limits_of_a_container_that_is_gone(
    shibafu: CommandLine, host: Namespace, web: Namespace
) -> None:
    shibafu.connect("blue", web)
    shibafu(f"network limit {web.name} --egress 20M")
    web.delete()
    assert "is gone" in shibafu.fail(f"network limit {web.name} --egress 20M")
    shibafu("network gc blue")
    assert find_delay_links(host) == []


@pytest.mark.usefixtures("blue")
@pytest.mark.parametrize("plugin", ["shibafu-bandwidth", "bandwidth"])
def test_a_network_that_limits_its_containers(
    shibafu: CommandLine, host: Namespace, web: Namespace, plugin: str
) -> None:
    """Whatever the plugin's name: what a container was given goes before, and CHECK knows."""
    limit_network(shibafu, type=plugin, ingressRate=50 * MBIT, egressRate=50 * MBIT)
    with Namespace("db") as db:
        shibafu.connect("blue", web)
        shibafu.connect("blue", db)
        shibafu(f"network limit {web.name} --egress 10M")
        assert measure(web, host, GATEWAY, 10 * MBIT) == pytest.approx(1, abs=0.1)
        assert shibafu("network check").count("✓") == 3
        options = [qdisc["options"] for qdisc in loads(host.run("tc", "-j", "qdisc"))]
        rates = sorted(8 * found["rate"] // MBIT for found in options if "rate" in found)
        assert rates == [10, 50, 50, 50]
        # What nobody changed is still compared with the network's configuration.
        port = shibafu.json("network inspect blue")[0]["endpoints"][0]["hostLink"]
        host.run(*f"tc qdisc replace dev {port} root handle 1: tbf rate 5mbit burst 64k latency 25ms".split())
        said = shibafu.run("network", "check", status=1)[0]
        assert said.count("✗") == 1
        assert "Rate doesn't match" in said
        for container in (web, db):
            shibafu(f"network disconnect blue {container.name}")
        assert find_delay_links(host) == []


def read_resources(shibafu: CommandLine, kind: str) -> list[dict[str, Any]]:
    (endpoint,) = shibafu.json("network inspect blue")[0]["endpoints"]
    return [one for one in endpoint["resources"] if one["resource"] == kind]


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("tc qdisc del dev {port} root", "nothing limits what the container receives"),
        pytest.param(
            "tc qdisc replace dev {ifb} root handle 1: tbf rate 5mbit burst 64k latency 25ms",
            "Rate doesn't match",
            marks=pytest.mark.long,
        ),
        ("tc qdisc del dev {port} ingress", "does not reach link {ifb}"),
        pytest.param("ip link set {ifb} down", "link {ifb} is down", marks=pytest.mark.long),
        pytest.param("ip link del {ifb}", "{ifb} is missing", marks=pytest.mark.long),
        pytest.param("ip link del {port}", "link {port} of the host is missing", marks=pytest.mark.long),
    ],
)
@pytest.mark.usefixtures("blue")
def test_repair_mends_limits(
    shibafu: CommandLine, host: Namespace, web: Namespace, command: str, said: str
) -> None:
    address = shibafu.connect("blue", web)
    shibafu(f"network limit {web.name} --ingress 10M --egress 20M")
    names = {"port": read_cache(shibafu)["result"]["interfaces"][1]["name"], "ifb": find_delay_links(host)[0]}
    assert "nothing to repair" in shibafu("network repair")
    assert [one["attributes"] for one in read_resources(shibafu, "rateLimit")] == [
        {"link": names["port"], "limits": "ingress", "rate": 10 * MBIT, "burst": 8 << 16},
        {"link": names["ifb"], "limits": "egress", "rate": 20 * MBIT, "burst": 8 * 125_000},
    ]
    assert [one["attributes"] for one in read_resources(shibafu, "redirection")] == [
        {"from": names["port"], "to": names["ifb"]}
    ]
    (delay,) = read_resources(shibafu, "delayLink")
    assert delay == {
        "resource": "delayLink",
        "attributes": {"name": names["ifb"], "kind": "ifb", "state": "up"},
        "faults": [],
    }
    host.run(*command.format(**names).split())
    for question in (["repair", "--dry-run"], ["check"]):
        assert said.format(**names) in shibafu.run("network", *question, status=1)[0]
    assert "repaired" in shibafu("network repair")
    assert "nothing to repair" in shibafu("network repair")
    assert shibafu("network check").count("✓") == 2
    assert measure(host, web, address, 10 * MBIT) == pytest.approx(1, abs=0.1)
    assert measure(web, host, GATEWAY, 20 * MBIT) == pytest.approx(1, abs=0.1)
    shibafu(f"network disconnect blue {web.name}")
    assert find_delay_links(host) == []


@pytest.mark.usefixtures("blue")
def test_repair_follows_the_network_s_configuration(
    shibafu: CommandLine, host: Namespace, web: Namespace
) -> None:
    limit_network(shibafu, ingressRate=50 * MBIT)
    shibafu.connect("blue", web)
    path = shibafu.conf_dir / "blue.conflist"
    path.write_text(path.read_text().replace(str(50 * MBIT), str(20 * MBIT)))
    assert "Rate doesn't match" in shibafu.run("network", "check", status=1)[0]
    assert "repaired" in shibafu("network repair")
    assert shibafu("network check").count("✓") == 2
    assert "rate 20Mbit" in host.run("tc", "qdisc")


@pytest.mark.usefixtures("blue")
def test_a_container_on_several_networks(shibafu: CommandLine, host: Namespace, web: Namespace) -> None:
    shibafu("network create green --subnet 10.67.0.0/24")
    shibafu.connect("blue", web)
    shibafu.connect("blue", web, "--ifname", "eth1")
    shibafu.connect("green", web, "--ifname", "eth2")
    said = shibafu.fail(f"network limit {web.name} --egress 10M")
    assert "has several interfaces: eth0 on blue, eth1 on blue, eth2 on green" in said
    assert "--network, --ifname or both" in said
    assert "has several" in shibafu.fail(f"network limit {web.name} --egress 10M --network blue")
    assert "has no interface eth7" in shibafu.fail(f"network limit {web.name} --egress 10M --ifname eth7")
    shibafu(f"network limit {web.name} --egress 10M --network green")
    shibafu(f"network limit {web.name} --egress 10M --ifname eth1")
    assert len(find_delay_links(host)) == 2
    assert shibafu("network check").count("✓") == 5


@pytest.mark.usefixtures("blue")
def test_refusals_change_nothing(shibafu: CommandLine, host: Namespace, web: Namespace) -> None:
    shibafu.connect("blue", web)
    before = read_cache(shibafu)
    assert "is not on any network" in shibafu.fail("network limit nobody --egress 10M")
    assert "there is no network red" in shibafu.fail(f"network limit {web.name} --egress 10M --network red")
    assert "no limit is specified" in shibafu.fail(f"network limit {web.name}", status=2)
    assert "is not a number of bits" in shibafu.fail(f"network limit {web.name} --egress fast", status=2)
    assert "less than a byte" in shibafu.fail(f"network limit {web.name} --egress 7")
    assert "if burst is set" in shibafu.fail(f"network limit {web.name} --egress 0:5M")
    shibafu(f"network limit {web.name} --egress 10M")
    (name,) = find_delay_links(host)
    shibafu(f"network limit {web.name} --egress 0")
    after = read_cache(shibafu)
    assert after["result"] == before["result"]
    # Somebody else's link is in the way.
    host.run("ip", "link", "add", name, "type", "bridge")
    assert "is not an ifb" in shibafu.fail(f"network limit {web.name} --egress 10M")
    assert read_cache(shibafu) == after


@pytest.mark.usefixtures("blue")
def test_a_container_of_which_nothing_is_kept(shibafu: CommandLine, web: Namespace) -> None:
    shibafu.connect("blue", web)
    for path in shibafu.cache_dir.iterdir():
        path.unlink()
    assert "no runtime keeps the result" in shibafu.fail(f"network limit {web.name} --egress 10M")


@pytest.mark.usefixtures("blue")
def test_without_the_plugin(shibafu: CommandLine, web: Namespace) -> None:
    shibafu.connect("blue", web)
    shibafu.env["CNI_PATH"] = "/usr/lib/cni"
    said = shibafu.fail(f"network limit {web.name} --egress 10M")
    assert 'failed to find plugin "shibafu-bandwidth"' in said


@pytest.mark.usefixtures("blue")
def test_killed_limiting_leaves_what_disconnecting_removes(
    shibafu: CommandLine, host: Namespace, web: Namespace
) -> None:
    """After the plugin has begun: the cache tells of it before."""
    shibafu.connect("blue", web)
    process = shibafu.start("network", "limit", web.name, "--egress", "10M")
    while not find_delay_links(host) and process.poll() is None:
        pass
    process.kill()
    process.communicate()
    shibafu(f"network disconnect blue {web.name}")
    assert find_delay_links(host) == []
