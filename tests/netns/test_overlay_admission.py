"""etcd that does not let an agent in any more: it says why, containers go on, and it does once it can."""

import json
import shutil
from pathlib import Path

import pytest

from netns.overlay_lab import NETWORK, OverlayHost, OverlayLab, Pair, wait_until
from support.certificates import Authority
from support.etcd import EtcdServer
from support.pings import Pings

pytestmark = pytest.mark.long


def wait_for_hint(host: OverlayHost, hint: str) -> None:
    """Wait until the agent says what is to be done, which `overlay status` shows, too."""
    wait_until(lambda: hint in host.read_state().get("hint", ""), hint)
    assert hint in host.command("status", status=1)


def is_well(host: OverlayHost) -> bool:
    """Return whether the agent has its subnet, and nothing to complain of."""
    state = host.read_state()
    return bool(state["state"] == "joined" and not state["trouble"])


def test_passwords_that_are_missing_or_wrong(pair: Pair, lab: OverlayLab, tmp_path: Path) -> None:
    """First it has none, then a wrong one, then the user may do nothing."""
    _, second, container = pair
    keys, entries, subnet = lab.list_keys(), second.list_entries(), second.read_subnet()
    password = tmp_path / "password"
    password.write_text("red")
    with Pings(container, second.calc_container()) as pings:
        lab.etcd.require_passwords()
        second.stop()
        second.start()
        wait_for_hint(second, "etcd requires a password: set username and passwordFile")
        second.stop()
        second.configure(username="blue", passwordFile=str(password))
        second.start()
        wait_for_hint(second, "look at username and passwordFile")
        # From here on without another start.
        password.write_text("azure")
        wait_for_hint(second, "the user needs a role with readwrite permission for the prefix")
        assert (second.list_entries(), second.read_subnet()) == (entries, subnet)
        admin = ("--user", "root:secret")
        prefix = ("--prefix", "/coreos.com/network/")
        lab.etcd.ctl(*admin, "role", "grant-permission", "blue", "readwrite", *prefix)
        wait_until(lambda: is_well(second), "join")
        lab.etcd.ctl(*admin, "auth", "disable")
    assert pings.lost == 0
    assert (lab.list_keys(), second.list_entries()) == (keys, entries)


def test_a_certificate_of_another_authority(tmp_path: Path) -> None:
    """As if somebody pretended to be etcd; until the agent is told to trust that authority."""
    (tmp_path / "other").mkdir()
    authority, other = Authority(tmp_path), Authority(tmp_path / "other")
    files = authority.issue("server", "/CN=etcd")
    with OverlayLab(tmp_path, 1, cafile=str(authority.certificate)) as lab:
        (host,) = lab.hosts
        lab.etcd.__exit__()
        options = ("--cert-file", str(files[0]), "--key-file", str(files[1]))
        lab.members = [EtcdServer(host.namespace, *options, scheme="https")]
        trusted = f"--cacert={authority.certificate}"
        lab.etcd.ctl(trusted, "put", "/coreos.com/network/config", json.dumps(NETWORK))
        host.configure(endpoints=["https://127.0.0.1:2379"])
        host.start()
        wait_until(lambda: host.read_state().get("state") == "joined", "join")
        subnet = host.read_subnet()
        for issued, used in zip(other.issue("server", "/CN=etcd"), files, strict=True):
            shutil.copy(issued, used)
        lab.etcd.stop()
        lab.etcd.start()
        wait_until(lambda: "certificate" in host.read_state()["trouble"], "the certificate")
        # What the host has is kept meanwhile.
        host.namespace.run("ip", "link", "del", "flannel.1")
        wait_until(lambda: "flannel.1" in host.namespace.run("ip", "-br", "link"), "the device")
        shutil.copy(other.certificate, authority.certificate)
        wait_until(lambda: is_well(host), "trust", 30)
        assert host.read_subnet() == subnet
