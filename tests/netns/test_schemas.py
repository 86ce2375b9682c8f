"""What programs read is what docs/schemas says: JSON of real networks, and their records."""

from json import dumps, loads
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from netns.blue_network import BlueNetwork
from shibafu.cni.names import calc_host_veth
from support.command import CommandLine
from support.command_line import LINES
from support.machine import Machine
from support.namespaces import Namespace
from support.schemas import (
    SCHEMAS,
    VALUES,
    assert_closed,
    assert_valid,
    describe_objects,
    find_subcommand,
    list_references,
    open_validator,
)
from support.waiting import wait_for

RECORD = "attachment-record.json"
FAILURE = "stderr.json"
# Their programs, or the engine's process, print what they print.
WITHOUT_VALUE = {"engine run", "exec"}
# What takes no containers and no engine.
GROUPS = ("completion", "ipam", "link", "network", "policy")
DRIVER_OPTIONS = ("hairpinMode", "keepIPv6", "macspoofchk", "portIsolation")
NETWORKS = {
    "plain": "--mtu 1400",
    "dual stack": "--ipv6 --gateway 10.66.0.254 --ip-range 10.66.0.100-10.66.0.120",
    "nftables": "--driver-opt ipMasqBackend=nftables",
    "internal": "--internal",
    "isolated": "--isolate --no-masq",
    "strict": "--isolate=strict",
    "driver options": " ".join(f"--driver-opt {option}=true" for option in DRIVER_OPTIONS),
    "router advertisements": "--driver-opt acceptRA=true --driver-opt promiscMode=true",
}


class Seen:
    """Runs the command, and keeps what each subcommand has printed last."""

    def __init__(self, shibafu: CommandLine) -> None:
        self._shibafu = shibafu
        self.values: dict[str, Any] = {}

    def __call__(self, line: str, status: int = 0) -> Any:
        value = self._shibafu.json(line, status)
        self.values[find_subcommand(line)] = value
        return value


# The schemas themselves


def test_each_subcommand_with_a_value_has_a_schema() -> None:
    assert {line for line in LINES if VALUES[line] is None} == WITHOUT_VALUE


def test_each_schema_is_one_of_something() -> None:
    used = {FAILURE, RECORD, *filter(None, VALUES.values())}
    assert set(SCHEMAS) == used.union(*map(list_references, SCHEMAS.values()))


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema_says_what_everything_is(name: str) -> None:
    schema = SCHEMAS[name]
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == Draft202012Validator.META_SCHEMA["$id"]
    assert schema["$id"] == name
    assert schema["title"]
    assert schema["description"].endswith(".")
    for described in describe_objects(schema):
        assert described["additionalProperties"] is False
        for key, meant in described["properties"].items():
            assert "$ref" in meant or meant["description"].endswith("."), key


# What the command prints


def see_policies(see: Seen, directory: Path, web: Namespace, db: Namespace) -> None:
    """Have each subcommand for policies print as much as it can."""
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "prod", "labels": {"a": "b"}}}
    peer = {"podSelector": {"matchLabels": {"app": web.name}}}
    policy = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "all"},
        "spec": {"podSelector": {}, "ingress": [{"from": [peer]}], "egress": [{}]},
    }
    declared, expected = directory / "policies.json", directory / "expectations.yaml"
    declared.write_text(dumps({"apiVersion": "v1", "kind": "List", "items": [policy, namespace]}))
    expected.write_text(f"[{{from: {web.name}, to: {db.name}, port: 80, allowed: false}}]")
    assert see(f"policy apply -f {declared}")["steps"]
    assert see("policy ls")["policies"][0]["containers"]
    assert see("policy inspect default/all")["policies"][0]["rules"]
    assert see(f"policy explain {web.name} {db.name} 80")["paths"][0]["ingress"]["rule"]
    assert see("policy matrix")
    assert see(f"policy test {expected}", status=1)["failed"]
    assert see(f"policy label {web.name} tier=front")["labels"]
    assert see("policy rm default/all")["removed"]


def test_each_subcommand_prints_what_its_schema_says(
    shibafu: CommandLine, host: Namespace, network: BlueNetwork
) -> None:
    """And the schema takes nothing else."""
    web, db, see = network.web, network.db, Seen(shibafu)
    see("network create blue --subnet 10.66.0.0/24 --driver-opt hairpinMode=true")
    for container in (web, db):
        see(f"network connect blue {container.name} --label app={container.name}")
    see_policies(see, shibafu.conf_dir.parent, web, db)
    see("ipam reserve blue 10.66.0.50 --label printer")
    see(f"network limit {web.name} --egress 1G:64M --ingress 0")
    assert see(f"network limit {web.name} --egress 0 --ingress 10M")["ingress"]
    host.run("ip", "link", "add", "tap7", "master", "br-blue", "type", "veth", "peer", "far")
    web.run("ip", "route", "del", "default")
    host.run("iptables", "-t", "nat", "-F")
    (view,) = see("network inspect blue")
    assert all(view[key] for key in ("bridge", "subnets", "endpoints", "otherPorts", "rules", "resources"))
    assert any(one["faults"] for one in view["resources"])
    assert see("network check", status=1)
    assert see("network repair --dry-run", status=1)["faults"]
    assert see("network repair")["faults"]
    assert see("network pause blue")["paused"]
    assert see("network down blue --for 1h")["paused"]
    assert see("network inspect blue")[0]["paused"]
    assert see("network repair blue", status=1)["paused"]
    assert see("network resume blue")["resumed"]
    assert see("network ls --quiet") == ["blue"]
    assert see("network ls")
    db.delete()
    assert len(see("ipam ls")) == 3
    assert see("network gc --dry-run")["freed"]
    assert see("network gc")["freed"]
    see("network export")
    declared = shibafu.conf_dir.parent / "networks.yaml"
    subnet = "{subnet: 10.67.0.0/24, gateway: 10.67.0.9, range: 10.67.0.100-10.67.0.120}"
    declared.write_text(f"networks: {{blue: {{mtu: 1400}}, green: {{subnets: [{subnet}]}}}}")
    assert len(see(f"network apply --dry-run -f {declared}")["steps"]) == 2
    assert see(f"network apply -f {declared}")["steps"][0]["differences"]
    assert see("network export")["networks"]["green"]["subnets"] != ["10.67.0.0/24"]
    assert see("ipam release blue 10.66.0.50")["released"]
    assert see(f"network disconnect blue {web.name}")["disconnected"]
    assert see("network rm blue green")["removed"]
    for line in (
        "link create-bridge br0",
        "link create-veth a b --bridge br0",
        "link addr br0 10.68.0.1/24",
        f"link move b {web.name}",
        "link rm a",
    ):
        assert see(line)["commands"]
    see("completion bash")
    assert set(see.values) == {line for line in LINES if line.split()[0] in GROUPS}
    for line, value in see.values.items():
        assert_closed(str(VALUES[line]), value)


@pytest.mark.parametrize("kind", NETWORKS)
def test_networks_of_every_kind(shibafu: CommandLine, host: Namespace, web: Namespace, kind: str) -> None:
    see = Seen(shibafu)
    see(f"network create blue --subnet 10.66.0.0/24 {NETWORKS[kind]}")
    see(f"network connect blue {web.name}")
    (view,) = see("network inspect blue")
    own = {one["resource"] for one in view["endpoints"][0]["resources"]}
    assert {"port", "containerInterface", "carrier"} <= own
    see("network check blue")
    see("network export blue")
    assert_valid(RECORD, read_record(shibafu.records / "blue", "blue", web.name))
    host.run("ip", "link", "del", "br-blue")
    host.run("nft", "flush", "ruleset")
    (view,) = see("network inspect blue")
    assert view["bridge"]["state"] == "missing"
    assert see("network repair blue")["faults"]
    see("network inspect blue")


def test_networks_of_the_reference(shibafu: CommandLine, host: Namespace, web: Namespace) -> None:
    shibafu.env["CNI_PATH"] = "/usr/lib/cni"
    plugin = {
        "type": "bridge",
        "bridge": "ref0",
        "isGateway": True,
        "ipMasq": True,
        "macspoofchk": True,
        "ipam": {"type": "host-local", "subnet": "10.66.0.0/24"},
    }
    for name, plugins in (("blue", [plugin]), ("line", [{"type": "ptp"}])):
        document = {"cniVersion": "1.0.0", "name": name, "plugins": plugins}
        (shibafu.conf_dir / f"{name}.conflist").write_text(dumps(document))
    see = Seen(shibafu)
    see(f"network connect blue {web.name}")
    blue, line = see("network inspect blue line")
    assert {one["resource"] for one in blue["endpoints"][0]["resources"]} >= {"referenceSpoofCheck"}
    assert line["bridge"] is None
    see("network check")
    web.delete()
    # The kernel takes the link away some time after its namespace.
    wait_for(lambda: see("network inspect blue")[0]["endpoints"][0]["traffic"] is None)


def test_failures_and_warnings_are_what_their_schema_says(shibafu: CommandLine) -> None:
    (shibafu.conf_dir / "00-torn.conflist").write_text("{")
    for line, status in (("network create blue", 0), ("network ls", 1), ("network rm nope", 1)):
        told = shibafu.run(*line.split(), "--format", "json", status=status)[1].splitlines()
        assert told
        for one in told:
            assert_closed(FAILURE, loads(one))


# Records


def read_record(directory: Path, network: str, container: str) -> Any:
    return loads((directory / calc_host_veth(network, container, "eth0")).read_bytes())


def test_a_record_in_each_phase(machine: Machine) -> None:
    """IPAM and what makes the rules wait until the record has been read."""
    config = machine.config()

    def until(name: str) -> str:
        return f'while [ ! -e {machine.directory}/{name} ]; do sleep 0.01; done; exec "$REAL" "$@"'

    def read() -> Any:
        return read_record(machine.records / "net", "net", "c1")

    def see(phase: str) -> None:
        assert read()["phase"] == phase
        assert_closed(RECORD, read())

    plugins = machine.make_plugin(until("leased"))
    programs = machine.make_program("iptables-restore", until("ruled"))
    adding = machine.start("ADD", config, CNI_PATH=plugins, PATH=programs)
    wait_for(lambda: any(path.stat().st_size for path in machine.records.glob("net/veth*")))
    see("claimed")
    (machine.directory / "leased").touch()
    wait_for(lambda: bool(read()["phase"] != "claimed"))
    see("addressed")
    (machine.directory / "ruled").touch()
    assert adding.finish().status == 0
    see("complete")
    assert read()["result"]["ips"]
    removing = machine.start("DEL", config, CNI_PATH=machine.make_plugin(until("released")))
    wait_for(lambda: bool(read()["phase"] != "complete"))
    see("leaving")
    (machine.directory / "released").touch()
    assert removing.finish().status == 0


def test_a_schema_of_records_takes_no_other_version(machine: Machine) -> None:
    machine.add(machine.config())
    record = read_record(machine.records / "net", "net", "c1")
    assert not open_validator(RECORD).is_valid(record | {"v": 1})
