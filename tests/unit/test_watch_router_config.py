"""The configuration of the host's routers: what it takes, and the line of each mistake."""

import socket

import pytest

from shibafu.documents.errors import DocumentError
from shibafu.watch.routers.config import parse_router_config
from shibafu.watch.routers.router_settings import RouterSettings

WHOLE = """
routers:
  - gateway: 192.0.2.1
    dev: eth0
    metric: 100
  - gateway: fe80::1
    dev: eth0.7
    metric: 100
"""
ROUTER = "{gateway: 192.0.2.1, dev: eth0, metric: 100}"


def refuse(text: str) -> list[str]:
    with pytest.raises(DocumentError) as caught:
        parse_router_config(text, "routers.yaml")
    return str(caught.value).splitlines()


def test_every_key() -> None:
    assert parse_router_config(WHOLE, "routers.yaml") == [
        RouterSettings(socket.inet_pton(socket.AF_INET, "192.0.2.1"), "eth0", 100),
        RouterSettings(socket.inet_pton(socket.AF_INET6, "fe80::1"), "eth0.7", 100),
    ]


def test_no_routers() -> None:
    assert parse_router_config("routers: []", "routers.yaml") == []


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("", 'routers.yaml:1: the file is empty; it begins with "routers:"'),
        ("{}", 'routers.yaml:1: "routers" is missing'),
        ("router: []", 'routers.yaml:1: the file has no key "router"; known keys: routers'),
        ("routers: 5", 'routers.yaml:1: "routers" must be a list: each item begins with a dash'),
        ("routers:\n  - 5", "routers.yaml:2: a router must map keys to values, with a colon after each key"),
        ("routers: []\n---\na: b", "routers.yaml:3: the file must be a single document: remove the line ---"),
        ("routers: [", "routers.yaml:1: invalid YAML, "),
        (
            "routers:\n- gateway: 192.0.2.1\n dev: eth0",
            "routers.yaml:3: invalid YAML, perhaps the indentation or a colon: ",
        ),
    ],
)
def test_file_of_another_form(text: str, mistake: str) -> None:
    assert refuse(text)[0].startswith(mistake)


@pytest.mark.parametrize(
    ("former", "changed", "mistake"),
    [
        ("192.0.2.1", "192.0.2", "invalid IP address: 192.0.2"),
        ("192.0.2.1", "192.0.2.0/24", "invalid IP address: 192.0.2.0/24"),
        ("192.0.2.1", "'::'", '"::" is not the address of a router'),
        ("192.0.2.1", "224.0.0.1", '"224.0.0.1" is not the address of a router'),
        ("192.0.2.1", "255.255.255.255", '"255.255.255.255" is not the address of a router'),
        ("192.0.2.1", "'ff02::1'", '"ff02::1" is not the address of a router'),
        ("192.0.2.1", "127.0.0.1", '"127.0.0.1" is not the address of a router'),
        ("192.0.2.1", "0.0.0.1", '"0.0.0.1" is not the address of a router'),
        ("192.0.2.1", "'::1'", '"::1" is not the address of a router'),
        ("192.0.2.1", "[a]", "expected one address or subnet"),
        ("eth0", "../eth0", '"../eth0" is not the name of a link'),
        ("eth0", "eth%d", '"eth%d" is not the name of a link'),
        ("eth0", r'"eth0\0x"', '"eth0\0x" is not the name of a link'),
        ("eth0", "all", '"all" is not the name of a link'),
        ("eth0", "sixteen-letters-x", '"sixteen-letters-x" is not the name of a link'),
        ("eth0", "''", '"" is not the name of a link'),
        ("100", "0", '"metric" is a number from 1 to 19999'),
        ("100", "20000", '"metric" is a number from 1 to 19999'),
        ("100", "low", '"metric" is a whole number'),
        ("100", "true", '"metric" is a whole number'),
        ("100", "null", '"metric" is a number from 1 to 19999'),
        (", metric: 100", "", 'a router needs the key "metric"'),
        ("dev: eth0, ", "", 'a router needs the key "dev"'),
        ("metric", "cost", 'a router has no key "cost"; known keys: gateway, dev, metric'),
    ],
)
def test_mistake_has_its_line(former: str, changed: str, mistake: str) -> None:
    text = "routers:\n  - {gateway: 198.51.100.1, dev: eth1, metric: 1}\n  - "
    assert refuse(text + ROUTER.replace(former, changed)) == [f"routers.yaml:3: {mistake}"]


@pytest.mark.parametrize(
    ("other", "mistake"),
    [
        (ROUTER.replace("100", "200"), "router 192.0.2.1 dev eth0 occurs twice"),
        (
            ROUTER.replace("2.1", "2.2"),
            "routers 192.0.2.1 dev eth0 and 192.0.2.2 dev eth0 have the same metric: "
            "the preferred one needs a lower one",
        ),
    ],
)
def test_routers_differ(other: str, mistake: str) -> None:
    assert refuse(f"routers:\n  - {ROUTER}\n  - {other}") == [f"routers.yaml:3: {mistake}"]


def test_families_do_not_compete() -> None:
    other = ROUTER.replace("192.0.2.1", "'2001:db8::1'")
    assert len(parse_router_config(f"routers:\n  - {ROUTER}\n  - {other}", "routers.yaml")) == 2


def test_all_mistakes_at_once() -> None:
    text = f"routers:\n  - {ROUTER.replace('eth0', 'a/b')}\n  - {ROUTER.replace('100', '-1')}"
    assert [line.split(": ")[0] for line in refuse(text)] == ["routers.yaml:2", "routers.yaml:3"]
