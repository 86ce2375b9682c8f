"""Policies and a restart of the host, of which only files outlive their namespaces."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from netns.policy_cases import match, pods, policy
from netns.policy_machine import TABLE, labelled
from support.machine import Config, Machine
from support.suite import Suite
from support.traffic import can_reach

DB_FROM_WEB = policy([{"from": [pods(match(app="web"))]}], target=match(app="db"), namespace="default")
# Process 1, and so what it calls, is in the network namespace that this is run in.
_AS_FIRST = (
    "mount -t tmpfs tmpfs /var/lib && mkdir -m 700 /var/lib/shibafu && "
    'mount --bind "$0/lib" /var/lib/shibafu && mount --bind "$0/run" /run/shibafu && "$@"'
)


class RestartedHost:
    """A host that keeps `/var/lib/shibafu` when it restarts, and is the one that process 1 is in."""

    def __init__(self, suite: Suite, machine: Machine, directory: Path) -> None:
        self.machine = machine
        self.config = machine.config()
        self._command = suite.command
        self._directory = directory
        self._addresses: dict[str, str] = {}
        for path in (directory / "lib", Path("/run/shibafu")):
            path.mkdir(mode=0o700, exist_ok=True)
        (directory / "policies.yaml").write_text(yaml.safe_dump(DB_FROM_WEB))
        self.start()

    @property
    def compiled(self) -> Path:
        return self._directory / "lib" / "policy" / "compiled.json"

    def start(self) -> None:
        """Start, with neither rules nor records."""
        records = self._directory / f"run-{len(list(self._directory.iterdir()))}"
        (self._directory / "run").unlink(missing_ok=True)
        records.mkdir()
        (self._directory / "run").symlink_to(records)
        self.machine.host.run("nft", "flush", "ruleset")
        flags = ("--mount", "--pid", "--fork", "--mount-proc")
        self.machine.prefix = ["/usr/bin/unshare", *flags, "/bin/sh", "-c", _AS_FIRST, str(self._directory)]

    def command(self, *words: str) -> None:
        """Call `shibafu policy`."""
        flags = [*words, "--policy-dir", f"{self._directory}/policies"]
        called = [*self.machine.prefix, *self._command, "policy", *flags]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        with self.machine.host.enter():
            done = subprocess.run(called, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    def apply(self) -> None:
        self.command("apply", "-f", f"{self._directory}/policies.yaml")

    def label(self, name: str) -> Config:
        return labelled(self.config, app=name.partition("-")[0])

    def attach(self, *names: str) -> None:
        for name in names:
            result = self.machine.add(self.label(name), name)
            self._addresses[name] = result["ips"][0]["address"].partition("/")[0]

    def reaches(self, source: str, destination: str) -> bool:
        server, client = map(self.machine.container, (destination, source))
        return can_reach(server, self._addresses[destination], client)


@pytest.fixture
def restarted(suite: Suite, machine: Machine, tmp_path: Path) -> RestartedHost:
    return RestartedHost(suite, machine, tmp_path)


def test_policies_outlast_a_restart(restarted: RestartedHost) -> None:
    restarted.apply()
    restarted.start()
    restarted.attach("web", "other")
    # These are about nobody yet whose traffic they restrict.
    assert restarted.reaches("other", "web")
    restarted.attach("db")
    assert [restarted.reaches(name, "db") for name in ("web", "other")] == [True, False]
    for name in ("web", "other", "db"):
        restarted.machine.check(restarted.label(name), name)
        restarted.machine.delete(restarted.label(name), name)


def test_policies_that_were_removed_do_not_come_back(restarted: RestartedHost) -> None:
    restarted.apply()
    restarted.command("rm", "/".join(DB_FROM_WEB["metadata"][key] for key in ("namespace", "name")))
    assert not restarted.compiled.exists()
    restarted.start()
    restarted.attach("db", "other")
    assert restarted.reaches("other", "db")
    assert TABLE.split()[1] not in restarted.machine.host.run("nft", "list", "tables")


def test_a_namespace_that_is_not_the_hosts_has_none_of_its_policies(restarted: RestartedHost) -> None:
    restarted.apply()
    restarted.machine.prefix = []
    restarted.attach("db", "other")
    assert restarted.reaches("other", "db")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: "",
        lambda text: text[:-20],
        lambda text: "[]",
        lambda text: text.replace('"v": 1', '"v": 99'),
        lambda text: text.replace('"peers"', '"pears"'),
    ],
    ids=["empty", "cut", "list", "version", "key"],
)
def test_nobody_is_attached_by_policies_that_cannot_be_read(
    restarted: RestartedHost, spoil: "object"
) -> None:
    assert callable(spoil)
    restarted.apply()
    restarted.attach("web")
    before = restarted.compiled.read_text()
    restarted.compiled.write_text(spoil(before))
    assert restarted.compiled.read_text() != before
    error = restarted.machine.fail(restarted.label("db"), "db")
    assert "compiled.json" in error["msg"]
    assert "shibafu policy apply" in error["details"]
    # Those that run can go, and are told.
    assert "network policies" in restarted.machine.fail(restarted.label("web"), "web", command="CHECK")["msg"]
    restarted.machine.delete(restarted.label("web"), "web")
    restarted.apply()
    restarted.attach("db", "other")
    assert not restarted.reaches("other", "db")
