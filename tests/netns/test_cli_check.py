"""The three answers of `shibafu network check`: in order, wrong, and not checked."""

from collections.abc import Iterator
from json import dumps
from typing import Any

import pytest

from support.command import CommandLine
from support.namespaces import Namespace


@pytest.fixture
def web() -> Iterator[Namespace]:
    with Namespace("web") as namespace:
        yield namespace


def configure(shibafu: CommandLine, version: str, **keys: object) -> None:
    """Configure network `blue`; keys of the list are those that the bridge plugin does not have."""
    plugin: dict[str, Any] = {
        "type": "bridge",
        "bridge": "blue0",
        "isGateway": True,
        "ipam": {"type": "host-local", "subnet": "10.70.0.0/24"},
    }
    of_list = {key: keys.pop(key) for key in ("disableCheck",) if key in keys}
    conflist = {"cniVersion": version, "name": "blue", **of_list, "plugins": [plugin | keys]}
    (shibafu.conf_dir / "blue.conflist").write_text(dumps(conflist))


def check(shibafu: CommandLine, status: int = 0) -> list[tuple[str, str]]:
    """Return what is wrong, and why nobody looked, of the network and then of its containers."""
    found = shibafu.json("network check blue", status=status)
    return [(finding["problem"], finding["notChecked"]) for finding in found]


@pytest.mark.parametrize(
    ("version", "of_network", "of_container"),
    [
        ("0.3.1", "version 0.3.1 has no STATUS", "version 0.3.1 has no CHECK"),
        ("1.0.0", "version 1.0.0 has no STATUS", ""),
        ("1.1.0", "", ""),
    ],
)
def test_a_version_without_the_verb(
    shibafu: CommandLine, host: Namespace, web: Namespace, version: str, of_network: str, of_container: str
) -> None:
    configure(shibafu, version)
    shibafu(f"network connect blue {web.name}")
    assert check(shibafu) == [("", of_network), ("", of_container)]
    marks = [line[0] for line in shibafu("network check").splitlines()]
    assert marks == ["-" if reason else "✓" for reason in (of_network, of_container)]
    host.run("ip", "link", "set", "blue0", "down")
    wrong, unchecked = check(shibafu, status=0 if of_container else 1)[1]
    assert bool(wrong) != bool(of_container)
    assert unchecked == of_container


def test_checks_that_are_disabled(shibafu: CommandLine, host: Namespace, web: Namespace) -> None:
    configure(shibafu, "1.1.0", disableCheck=True)
    shibafu(f"network connect blue {web.name}")
    host.run("ip", "link", "set", "blue0", "down")
    assert check(shibafu) == [("", ""), ("", "disableCheck is set")]
    web.delete()
    assert check(shibafu, status=1)[1] == ("namespace gone", "")


def test_a_container_whose_result_is_kept_elsewhere(shibafu: CommandLine, web: Namespace) -> None:
    configure(shibafu, "1.1.0")
    shibafu(f"network connect blue {web.name}")
    (result,) = shibafu.cache_dir.iterdir()
    result.unlink()
    assert check(shibafu) == [("", ""), ("", "no runtime has cached its result here")]


@pytest.mark.parametrize("version", ["0.3.1", "1.0.0", "1.1.0"])
@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ({"type": "nowhere"}, "nowhere"),
        ({"ipam": {"type": "nowhere"}}, "nowhere"),
        ({"vlan": -1}, "its configuration is invalid"),
        ({"ipam": {"type": "host-local", "subnet": "10.0.0.0/99"}}, "its configuration is invalid"),
    ],
)
def test_a_network_that_cannot_work_is_wrong_in_every_version(
    shibafu: CommandLine, version: str, keys: dict[str, object], problem: str
) -> None:
    configure(shibafu, version, **keys)
    ((wrong, unchecked),) = check(shibafu, status=1)
    assert problem in wrong
    assert unchecked == ""
    assert shibafu.run("network", "check", "blue", status=1)[0].startswith("✗ blue: ")
