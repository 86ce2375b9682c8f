"""The agent's configuration: what it takes, and the line of each mistake."""

from ipaddress import IPv4Address, IPv6Address

import pytest

from shibafu.documents.errors import DocumentError
from shibafu.overlay.config import EtcdAccess, OverlaySettings, parse_overlay_config

WHOLE = """
networks:
  - name: blue
    endpoints: [https://192.0.2.1:2379, "https://[2001:db8::1]:2379/"]
    prefix: /blue/network
    iface: eth1
    publicIP: 192.0.2.9
    publicIPv6: 2001:db8::9
    subnetFile: /run/flannel/subnet.env
    leaseSeconds: 3600
    txChecksum: false
    cafile: /etc/ca.pem
    certfile: /etc/cert.pem
    keyfile: /etc/key.pem
    username: blue
    passwordFile: /etc/password
"""


def refuse(text: str) -> list[str]:
    with pytest.raises(DocumentError) as caught:
        parse_overlay_config(text, "overlay.yaml")
    return str(caught.value).splitlines()


def test_every_key() -> None:
    etcd = EtcdAccess(
        ("https://192.0.2.1:2379", "https://[2001:db8::1]:2379"),
        "/etc/ca.pem",
        "/etc/cert.pem",
        "/etc/key.pem",
        "blue",
        "/etc/password",
    )
    assert parse_overlay_config(WHOLE, "overlay.yaml") == [
        OverlaySettings(
            "blue",
            etcd,
            "/blue/network",
            "eth1",
            IPv4Address("192.0.2.9"),
            IPv6Address("2001:db8::9"),
            "/run/flannel/subnet.env",
            3600,
            False,
        )
    ]


def test_defaults() -> None:
    (network,) = parse_overlay_config("networks: [{name: a, endpoints: [http://127.0.0.1:2379]}]", "f")
    assert (network.prefix, network.subnet_file) == ("/coreos.com/network", "/run/shibafu/overlay/a.env")
    assert (network.lease_seconds, network.iface, network.public_ip) == (86400, "", None)
    assert network.tx_checksum is None


def one(key: str, value: str) -> str:
    return f"networks:\n- name: a\n  endpoints: [http://192.0.2.1:2379]\n  {key}: {value}\n"


@pytest.mark.parametrize(
    ("key", "value", "mistake"),
    [
        ("iface", "a/b", 'f:4: "a/b" is not the name of a link'),
        ("iface", "sixteen-letters-", 'f:4: "sixteen-letters-" is not the name of a link'),
        ("prefix", "network", 'f:4: prefix "network" is not a path such as /coreos.com/network'),
        (
            "prefix",
            "/shibafu/a",
            'f:4: prefix "/shibafu/a" begins with /shibafu, which is for keys that flannel',
        ),
        ("txChecksum", "0", 'f:4: "txChecksum" is true or false'),
        ("publicIP", "2001:db8::1", "f:4: Expected 4 octets"),
        ("subnetFile", "subnet.env", 'f:4: "subnet.env" is not a path of a file that begins with /'),
        ("subnetFile", "/run/../etc/passwd", 'f:4: "/run/../etc/passwd" is not a path of a file'),
        ("leaseSeconds", "1", 'f:4: "leaseSeconds" is a number from 5 to 31536000'),
        ("leaseSeconds", "day", 'f:4: "leaseSeconds" is a whole number'),
        ("cafile", "/ca.pem", "f:2: certificates have no effect on http://192.0.2.1:2379: write https"),
        ("username", "root", 'f:4: "username" also needs the key "passwordFile"'),
        ("keyfile", "/key", 'f:4: "keyfile" also needs the key "certfile"'),
        ("colour", "blue", 'f:4: a network has no key "colour"'),
    ],
)
def test_a_mistake_has_its_line(key: str, value: str, mistake: str) -> None:
    with pytest.raises(DocumentError) as caught:
        parse_overlay_config(one(key, value), "f")
    assert str(caught.value).startswith(mistake)


@pytest.mark.parametrize(
    "endpoint",
    ["192.0.2.1:2379", "https://192.0.2.1", "https://u:p@h:1", "https://h:1/v3", "ftp://h:1", "http://h:x"],
)
def test_endpoints_are_urls(endpoint: str) -> None:
    (mistake,) = refuse(f"networks:\n- name: a\n  endpoints:\n  - {endpoint}\n")
    assert mistake.startswith(f'overlay.yaml:4: endpoint "{endpoint}"')
    assert mistake.endswith("write one such as https://192.0.2.1:2379")


def test_all_mistakes_are_told() -> None:
    text = "networks:\n- name: ../a\n  endpoints: []\n- {name: b}\n"
    assert [line.split(": ")[0] for line in refuse(text)] == ["overlay.yaml:2", "overlay.yaml:4"]


def test_networks_of_a_host_differ() -> None:
    text = one("prefix", "/a").removesuffix("\n") + one("prefix", "/a").removeprefix("networks:")
    assert refuse(text) == [
        "overlay.yaml:5: networks a and a are the same one of etcd: /a",
        "overlay.yaml:5: networks a and a have the same file /run/shibafu/overlay/a.env",
        'overlay.yaml:5: there are two networks named "a"',
    ]


@pytest.mark.parametrize("text", ["", "{}", "networks: 3", "networks: []\n---\nnetworks: []"])
def test_what_is_no_configuration(text: str) -> None:
    assert refuse(text)[0].startswith("overlay.yaml:")
