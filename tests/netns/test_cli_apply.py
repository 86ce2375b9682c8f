"""`shibafu network apply` and `export`."""

from json import loads

from support.command import CommandLine
from support.namespaces import Namespace

DECLARED = """\
networks:
  open:
  blue:
    subnets:
      - { subnet: 172.20.1.0/24, gateway: 172.20.1.254, range: 172.20.1.100-172.20.1.120 }
    mtu: 1400
    driver-opts: { portIsolation: true }
  cell:
    subnets: [10.66.3.0/24]
    internal: true
    isolate: true
"""


def actions(shibafu: CommandLine, text: str, *options: str) -> list[str]:
    out, _ = shibafu.run("network", "apply", "-f", "-", "--format", "json", *options, stdin=text)
    return [f"{step['action']} {step['network']}" for step in loads(out)["steps"]]


def test_it_is_idempotent_and_a_dry_run_changes_nothing(shibafu: CommandLine) -> None:
    new = ["create open", "create blue", "create cell"]
    assert actions(shibafu, DECLARED, "--dry-run") == new
    assert shibafu("network ls --quiet") == ""
    assert actions(shibafu, DECLARED) == new
    # What was left open is chosen clear of what is stated further down, and kept.
    assert shibafu.json("network export open")["networks"]["open"]["subnets"] == ["172.20.2.0/24"]
    assert actions(shibafu, DECLARED) == ["keep open", "keep blue", "keep cell"]


def test_what_is_exported_is_what_is_declared(shibafu: CommandLine) -> None:
    actions(shibafu, DECLARED)
    exported = shibafu("network export")
    assert set(actions(shibafu, exported)) == {"keep open", "keep blue", "keep cell"}
    shibafu("network rm open blue cell")
    files = actions(shibafu, exported)
    assert all(action.startswith("create") for action in files)
    assert shibafu("network export") == exported


def test_changes_are_told_and_made(shibafu: CommandLine, container: Namespace) -> None:
    actions(shibafu, DECLARED)
    changed = DECLARED.replace("mtu: 1400", "mtu: 1300")
    dry = shibafu("network apply --dry-run -f -", stdin=changed)
    assert "~ change blue: mtu 1400 -> 1300" in dry
    assert actions(shibafu, changed) == ["keep open", "change blue", "keep cell"]
    shibafu(f"network connect blue {container.name}")
    (link,) = loads(container.run("ip", "-j", "link", "show", "eth0"))
    assert link["mtu"] == 1300


def test_subnets_of_a_network_in_use_do_not_change(
    shibafu: CommandLine, host: Namespace, container: Namespace
) -> None:
    actions(shibafu, DECLARED)
    shibafu(f"network connect cell {container.name}")
    moved = DECLARED.replace("10.66.3.0/24", "10.66.4.0/24")
    said = shibafu.fail("network apply -f -", stdin=moved)
    assert said.startswith("shibafu: standard input:8: network cell has 1 container")
    shibafu(f"network disconnect cell {container.name}")
    assert actions(shibafu, moved)[2] == "change cell"
    shibafu(f"network connect cell {container.name}")
    assert "10.66.4.2/24" in container.run("ip", "addr")


def test_a_collision_is_told_with_its_line_and_nothing_is_made(shibafu: CommandLine, host: Namespace) -> None:
    host.run("ip", "link", "add", "uplink", "type", "veth", "peer", "far")
    host.run("ip", "link", "set", "uplink", "up")
    host.run("ip", "link", "set", "far", "up")
    host.run("ip", "route", "add", "10.66.0.0/16", "dev", "uplink")
    said = shibafu.fail("network apply -f -", stdin=DECLARED)
    assert said.startswith("shibafu: standard input:8: subnet 10.66.3.0/24 overlaps with 10.66.0.0/16")
    assert shibafu("network ls --quiet") == ""


def test_networks_of_other_plugins_are_left_alone(shibafu: CommandLine) -> None:
    other = '{"cniVersion":"0.4.0","name":"pod","plugins":[{"type":"bridge"},{"type":"portmap"}]}'
    (shibafu.conf_dir / "pod.conflist").write_text(other)
    assert "# pod is omitted" in shibafu("network export")
    assert "cannot express" in shibafu.fail("network export pod")
    assert "cannot express" in shibafu.fail("network apply -f -", stdin="networks:\n  pod:\n")
    assert (shibafu.conf_dir / "pod.conflist").read_text() == other
