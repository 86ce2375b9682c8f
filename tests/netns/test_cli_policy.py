"""`shibafu policy`: what it says is what packets meet."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from netns.blue_network import BlueNetwork
from shibafu.networks.policy_labels import change_labels
from support.command import CommandLine
from support.namespaces import Namespace
from support.traffic import can_reach

HEAD = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\n"
DB = f"""{HEAD}metadata: {{name: db}}
spec:
  podSelector: {{matchLabels: {{app: db}}}}
  ingress:
  - from: [{{podSelector: {{matchLabels: {{app: web}}}}}}]
"""
TEAM = f"""{HEAD}metadata: {{name: team, namespace: prod}}
spec:
  podSelector: {{}}
  ingress:
  - from: [{{namespaceSelector: {{matchLabels: {{team: red}}}}}}]
"""
WEB, DB_ADDRESS = "10.66.0.2", "10.66.0.3"


@pytest.fixture
def policies(shibafu: CommandLine, network: BlueNetwork, tmp_path: Path) -> Iterator[BlueNetwork]:
    """A network whose containers have labels."""
    shibafu("network create blue --subnet 10.66.0.0/24 --ipv6")
    shibafu(f"network connect blue {network.web.name} --label app=web")
    shibafu(f"network connect blue {network.db.name} --label app=db --named-port sql=5432/tcp")
    yield network
    for path in (tmp_path / "policies").glob("*"):
        path.unlink()
    shibafu("policy apply")


def can_open(server: Namespace, address: str, port: int, client: Namespace) -> bool:
    """Say whether a connection of TCP is opened."""
    with server.enter():
        listener = socket.create_server((address, port))
    with client.enter():
        connecting = socket.socket()
    with listener, connecting:
        connecting.settimeout(1)
        return connecting.connect_ex((address, port)) == 0


def apply(shibafu: CommandLine, text: str) -> str:
    return shibafu("policy apply -f -", stdin=text)


def test_a_network_shows_who_may_not_connect(shibafu: CommandLine, policies: BlueNetwork) -> None:
    web, db = policies.web.name, policies.db.name
    (view,) = shibafu.json("network inspect blue")
    assert view["restricted"] == []
    assert "network policies" not in shibafu("network inspect blue")
    apply(shibafu, DB.replace("app: web", "app: other"))
    (view,) = shibafu.json("network inspect blue")
    assert view["restricted"] == [{"source": web, "destination": db, "ports": "none"}]
    assert f"  {web} reaches nothing of {db}" in shibafu("network inspect blue").splitlines()


def test_a_policy_takes_effect_and_goes(shibafu: CommandLine, policies: BlueNetwork) -> None:
    web, db = policies.web, policies.db
    assert apply(shibafu, DB) == "+ create policy default/db\n"
    assert can_reach(db, DB_ADDRESS, web)
    assert apply(shibafu, DB.replace("app: web", "app: other")) == "~ change policy default/db\n"
    assert not can_reach(db, DB_ADDRESS, web)
    assert can_reach(web, WEB, db)
    assert can_reach(db, DB_ADDRESS, policies.host)
    (one,) = shibafu.json("policy ls")["policies"]
    assert (one["name"], one["types"], one["containers"]) == ("db", ["Ingress"], [db.name])
    assert shibafu("policy rm db") == "removed policy default/db\n"
    assert can_reach(db, DB_ADDRESS, web)
    assert shibafu.json("policy ls")["policies"] == []


def test_a_dry_run_changes_nothing(shibafu: CommandLine, policies: BlueNetwork, tmp_path: Path) -> None:
    file = tmp_path / "db.yaml"
    file.write_text(DB.replace("app: web", "app: other"))
    (step,) = shibafu.json(f"policy apply -n -f {file}")["steps"]
    assert step == {"action": "create", "kind": "policy", "name": "default/db"}
    assert shibafu.json("policy ls")["policies"] == []
    assert can_reach(policies.db, DB_ADDRESS, policies.web)


def test_nothing_is_applied_if_a_file_has_a_mistake(
    shibafu: CommandLine, policies: BlueNetwork, tmp_path: Path
) -> None:
    given = tmp_path / "given"
    given.mkdir()
    (given / "a.yaml").write_text(DB.replace("app: web", "app: other"))
    (given / "b.yaml").write_text("kind: Pod\n")
    assert f'{given}/b.yaml:1: kind "Pod" is not supported' in shibafu.fail(f"policy apply -f {given}")
    assert shibafu.json("policy ls")["policies"] == []
    assert can_reach(policies.db, DB_ADDRESS, policies.web)


def test_files_of_people_are_applied(shibafu: CommandLine, policies: BlueNetwork, tmp_path: Path) -> None:
    directory = tmp_path / "policies"
    directory.mkdir()
    (directory / "db.yaml").write_text(DB.replace("app: web", "app: other"))
    for line in ("policy ls", "policy matrix"):
        assert "the policies are not applied" in shibafu.run(*line.split())[1]
    difference = shibafu.json(f"policy explain {policies.web.name} {policies.db.name} 80", status=1)[
        "difference"
    ]
    assert "shibafu policy apply" in difference
    assert shibafu("policy apply") == f"applied what {directory} has\n"
    assert shibafu.run("policy", "ls")[1] == ""
    assert not can_reach(policies.db, DB_ADDRESS, policies.web)
    assert "remove it there" in shibafu.fail("policy rm default/db")
    (directory / "db.yaml").unlink()
    shibafu("policy apply")
    assert can_reach(policies.db, DB_ADDRESS, policies.web)


def test_what_is_explained_is_what_packets_meet(shibafu: CommandLine, policies: BlueNetwork) -> None:
    web, db = policies.web, policies.db
    apply(shibafu, DB)
    for source, destination, address, is_allowed in (
        (web, db, DB_ADDRESS, True),
        (db, web, WEB, True),
    ):
        said = shibafu.json(f"policy explain {source.name} {destination.name} 80")
        assert said["allowed"] is is_allowed is can_reach(destination, address, source)
        assert (len(said["paths"]), said["difference"]) == (2, "")
    said = shibafu.json(f"policy explain {web.name} {db.name} 80")["paths"][0]["ingress"]
    assert (said["policies"], said["rule"]["policy"], said["rule"]["number"]) == (
        ["default/db"],
        "default/db",
        1,
    )
    shibafu(f"policy label {web.name} app=other")
    assert not can_reach(db, DB_ADDRESS, web)
    denied = shibafu.run("policy", "explain", web.name, db.name, "80", status=1)[0]
    assert f"denied: {web.name} ({WEB}) to {db.name} ({DB_ADDRESS}), tcp/80" in denied
    assert "ingress of the destination: denied, default/db isolates it and no rule allows this" in denied
    assert "rule 1 of default/db is for other peers: pods with app=web of the namespace: any port" in denied
    assert shibafu.json(f"policy explain host {db.name} 80")["allowed"]
    assert not shibafu.json(f"policy explain 192.0.2.1 {db.name} 80", status=1)["allowed"]
    policies.host.run("nft", "flush", "table", "inet", "shibafu_policy")
    assert "network repair" in shibafu.json(f"policy explain {web.name} {db.name} 80", status=1)["difference"]


def test_labels_change_while_a_container_runs(shibafu: CommandLine, policies: BlueNetwork) -> None:
    web, db = policies.web, policies.db
    apply(shibafu, DB)
    assert shibafu.json(f"policy label {web.name}")["labels"] == {"app": "web"}
    assert shibafu(f"policy label {web.name} app- tier=front") == f"{web.name}: tier=front\n"
    assert not can_reach(db, DB_ADDRESS, web)
    shibafu("network check")
    assert "nothing to repair" in shibafu("network repair")
    assert not can_reach(db, DB_ADDRESS, web)
    shibafu(f"policy label {web.name} app=web")
    assert can_reach(db, DB_ADDRESS, web)
    shibafu("network check")


def test_labels_stay_where_the_kernel_refuses(shibafu: CommandLine, policies: BlueNetwork) -> None:
    """Each interface keeps what it was attached with."""
    web = policies.web.name
    shibafu("network create green --subnet 10.67.0.0/24")
    shibafu(f"network connect green {web} --ip 10.67.0.9 --label app=web")
    records = list(shibafu.records.glob("*/veth*"))
    before = [path.read_text().rstrip() for path in records]

    def refuse() -> None:
        assert [path.read_text().rstrip() for path in records] != before
        raise OSError("nft is not installed")

    with policies.host.enter(), pytest.raises(OSError, match="nft"):
        change_labels(web, {"app": "other"}, str(shibafu.cache_dir), refuse)
    assert [path.read_text().rstrip() for path in records] == before
    shibafu(f"policy label {web} app=other")
    shibafu("network check")


def test_another_runtime_does_not_have_to_know_of_changed_labels(
    shibafu: CommandLine, policies: BlueNetwork
) -> None:
    """Its CHECK states those that the container came with."""
    apply(shibafu, DB)
    shibafu(f"policy label {policies.web.name} app=other")
    for path in shibafu.cache_dir.iterdir():
        path.write_text(path.read_text().replace("app:other", "app:web"))
    shibafu("network check")
    shibafu(f"network disconnect blue {policies.web.name}")
    assert "10.66.0.2" not in policies.host.run("nft", "list", "table", "inet", "shibafu_policy")


def test_namespaces_are_found_by_their_labels(
    shibafu: CommandLine, policies: BlueNetwork, container: Namespace
) -> None:
    shibafu(f"network connect blue {container.name} --namespace prod")
    address = "10.66.0.4"
    apply(shibafu, TEAM)
    assert not can_reach(container, address, policies.web)
    space = "apiVersion: v1\nkind: Namespace\nmetadata: {name: default, labels: {team: red}}\n"
    assert apply(shibafu, space) == "+ create namespace default\n"
    assert can_reach(container, address, policies.web)


def test_a_named_port(shibafu: CommandLine, policies: BlueNetwork) -> None:
    apply(shibafu, DB.rstrip() + "\n    ports: [{port: sql}]\n")
    for port, is_allowed in ((5432, True), (5433, False)):
        status = 0 if is_allowed else 1
        assert (
            shibafu.json(f"policy explain {policies.web.name} {policies.db.name} {port}", status)[
                "difference"
            ]
            == ""
        )
        assert can_open(policies.db, DB_ADDRESS, port, policies.web) is is_allowed
    web, db = policies.web.name, policies.db.name
    by_name = f"allowed: {web} ({WEB}) to {db} ({DB_ADDRESS}), tcp/5432 (sql)"
    assert shibafu(f"policy explain {web} {db} tcp/sql").startswith(by_name)
    said = shibafu.fail(f"policy explain {web} {db} udp/sql")
    assert f'{db} gives no port of udp the name "sql": rules for that name match nothing of it' in said
    assert "its names: sql=5432/tcp" in said
    assert "only containers give names to ports" in shibafu.fail(f"policy explain {web} host sql")


def test_expectations(shibafu: CommandLine, policies: BlueNetwork, tmp_path: Path) -> None:
    table, given = tmp_path / "table.yaml", tmp_path / "db.yaml"
    given.write_text(DB)
    table.write_text(
        f"- {{from: {policies.web.name}, to: {policies.db.name}, port: 80, allowed: true}}\n"
        "- {from: 192.0.2.1, to: 10.66.0.3, port: 80, allowed: false}\n"
        "- {from: {labels: {app: other}}, to: {labels: {app: db}}, port: 80, allowed: false}\n"
    )
    failed = shibafu.json(f"policy test {table}", status=1)["failed"]
    assert [one["place"] for one in failed] == [f"{table}:2", f"{table}:3"]
    assert shibafu(f"policy test {table} -f {given}") == "3 of 3 expectations are met\n"
    apply(shibafu, DB)
    shibafu(f"policy test {table}")


def test_expectations_by_the_names_of_ports(shibafu: CommandLine, tmp_path: Path) -> None:
    table, given = tmp_path / "table.yaml", tmp_path / "db.yaml"
    given.write_text(DB.rstrip() + "\n    ports: [{port: sql}]\n")
    table.write_text(
        "- from: {labels: {app: web}}\n"
        "  to: {labels: {app: db}, named-ports: {sql: 5432, web: 80}}\n"
        "  port: sql\n"
        "  allowed: true\n"
    )
    assert shibafu(f"policy test {table} -f {given}") == "1 of 1 expectations are met\n"
    table.write_text(table.read_text().replace("port: sql", "port: web"))
    assert shibafu.json(f"policy test {table} -f {given}", status=1)["failed"][0]["allowed"] is False
    table.write_text(table.read_text().replace("port: web", "port: udp/sql"))
    said = shibafu.fail(f"policy test {table} -f {given}")
    assert f'{table}:1: "to" gives no port of udp the name "sql"' in said
    assert "its names: sql=5432/tcp, web=80/tcp" in said


def test_a_matrix(shibafu: CommandLine, policies: BlueNetwork, container: Namespace) -> None:
    names = (policies.web.name, policies.db.name, container.name)
    shibafu(f"network connect blue {container.name}")
    apply(shibafu, DB.rstrip() + "\n    ports: [{port: 5432}]\n")
    found = {(one["source"], one["destination"]): one["ports"] for one in shibafu.json("policy matrix")}
    expected = {(one, other): "all" for one in names for other in names if one != other}
    expected |= {(names[0], names[1]): "some", (names[2], names[1]): "none"}
    assert found == expected
    rows = [line.split() for line in shibafu("policy matrix").splitlines()]
    assert sorted(row[1:] for row in rows[1:]) == sorted([["all", "some"], ["all", "all"], ["-", "all"]])


def test_malformed_labels_of_one_do_not_hide_the_others(shibafu: CommandLine, policies: BlueNetwork) -> None:
    """They were no concern of anybody before there were policies."""
    apply(shibafu, DB)
    (record,) = (
        path for path in (shibafu.records / "blue").glob("veth*") if policies.web.name in path.read_text()
    )
    before, config, after = record.read_text().partition('"config": {')
    record.write_text(f'{before}{config}"args": {{"cni": {{"labels": 1}}}},{after}')
    assert '"labels" to an array' in shibafu.fail(f"policy label {policies.web.name}")
    assert shibafu.json("policy ls")["policies"][0]["containers"] == [policies.db.name]


@pytest.mark.parametrize(
    ("damage", "said"),
    [("{", "names no container"), ('{"v": 99}', "names no container"), ("", "of type array")],
)
def test_a_container_that_nobody_knows_is_told(
    shibafu: CommandLine, policies: BlueNetwork, damage: str, said: str
) -> None:
    """No policy restricts it; nothing may look as if one did."""
    (record,) = (
        path for path in (shibafu.records / "blue").glob("veth*") if policies.db.name in path.read_text()
    )
    whole = record.read_text()
    before, config, after = whole.partition('"config": {')
    record.write_text(damage or f'{before}{config}"args": {{"cni": {{"labels": 1}}}},{after}')
    told = shibafu.fail("policy apply -f -", stdin=DB)
    assert said in told
    assert "no policy restricts it" in told
    assert can_reach(policies.db, DB_ADDRESS, policies.web)
    record.write_text(whole)
    assert shibafu("policy apply").startswith("applied")


def test_what_a_policy_says(shibafu: CommandLine, policies: BlueNetwork) -> None:
    apply(shibafu, DB)
    assert shibafu("policy inspect default/db").splitlines()[1:] == [
        "  selects: app=db",
        f"  containers: {policies.db.name}",
        "  ingress:",
        "    pods with app=web of the namespace: any port",
    ]
    assert "there is no policy default/web" in shibafu.fail("policy inspect default/web")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("policy explain web nobody 80", "there is no container and no network namespace nobody"),
        ("policy rm a/b/c", "is not a policy"),
        ("policy label nobody", "there is no container"),
    ],
)
def test_what_is_not_there_is_told(shibafu: CommandLine, policies: BlueNetwork, line: str, said: str) -> None:
    assert said in shibafu.fail(line.replace("web", policies.web.name, 1))


def test_a_dry_run_says_what_is_pending(shibafu: CommandLine, policies: BlueNetwork, tmp_path: Path) -> None:
    assert shibafu("policy apply --dry-run") == "nothing was changed: this was a dry run\n"
    (tmp_path / "policies").mkdir(exist_ok=True)
    (tmp_path / "policies" / "db.yaml").write_text(DB)
    said = shibafu("policy apply --dry-run")
    assert "the policies are not applied: `shibafu policy apply` does it" in said
    shibafu("policy apply")
    assert shibafu("policy apply --dry-run") == "nothing was changed: this was a dry run\n"
