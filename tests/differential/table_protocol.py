"""The protocol's shell: environment, verbs, names, JSON, versions, namespaces."""

import json

from differential.case import REFUSED, Call, Case
from differential.samples import V4, host

_CONFIG = {"cniVersion": "1.0.0", "name": "net", "ipam": V4}
_ONCE = (Call("ADD"),)


def _missing(*names: str) -> dict[str, str | None]:
    return dict.fromkeys(names)


def _text(name: str, text: str) -> Case:
    return Case(f"json-{name}", _CONFIG, calls=(Call("ADD", stdin=text),))


ENVIRONMENT = (
    Case(
        "env-nothing",
        _CONFIG,
        calls=_ONCE,
        env=_missing("CNI_COMMAND", "CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"),
    ),
    Case("env-only-command", _CONFIG, env=_missing("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME")),
    Case("env-no-container-id", _CONFIG, env=_missing("CNI_CONTAINERID")),
    Case("env-no-netns", _CONFIG, env=_missing("CNI_NETNS")),
    Case("env-no-ifname", _CONFIG, env=_missing("CNI_IFNAME")),
    Case("env-empty-netns", _CONFIG, env={"CNI_NETNS": ""}),
    Case("env-no-path", _CONFIG, env=_missing("CNI_PATH")),
    Case("env-no-path-ipam", _CONFIG, "host-local", env=_missing("CNI_PATH")),
    Case("env-command-unknown", _CONFIG, calls=(Call("FOO"),)),
    Case("env-command-lower-case", _CONFIG, calls=(Call("add"),)),
    Case("env-empty-search-path", _CONFIG, env={"PATH": None}),
    Case("args-trailing-semicolon", _CONFIG, env={"CNI_ARGS": "IgnoreUnknown=1;"}),
    Case("args-no-value", _CONFIG, env={"CNI_ARGS": "IgnoreUnknown"}),
    Case("args-two-equals", _CONFIG, env={"CNI_ARGS": "IgnoreUnknown=1;K=a=b"}),
    Case("args-unknown", _CONFIG, env={"CNI_ARGS": "K8S_POD_NAME=web"}),
    Case("args-unknown-two", _CONFIG, env={"CNI_ARGS": "K8S_POD_NAME=web;K8S_POD_NAMESPACE=x"}),
    Case("args-unknown-ignored", _CONFIG, env={"CNI_ARGS": "K8S_POD_NAME=web;IgnoreUnknown=true"}),
    Case("args-unknown-ignored-upper-case", _CONFIG, env={"CNI_ARGS": "IgnoreUnknown=TRUE;K8S_POD_NAME=web"}),
    Case("args-unknown-not-ignored", _CONFIG, env={"CNI_ARGS": "IgnoreUnknown=0;K8S_POD_NAME=web"}),
    Case("args-ignore-unknown-bogus", _CONFIG, env={"CNI_ARGS": "IgnoreUnknown=maybe"}),
    Case("args-key-in-other-case", _CONFIG, env={"CNI_ARGS": "mac=02:00:00:00:00:07"}),
    Case("args-empty", _CONFIG, env={"CNI_ARGS": ""}),
)

VERBS = (
    Case("version-verb", _CONFIG, calls=(Call("VERSION"),)),
    Case("version-verb-ipam", _CONFIG, "host-local", calls=(Call("VERSION"),)),
    Case(
        "version-verb-dummies",
        _CONFIG,
        calls=(
            Call(
                "VERSION",
                env={
                    "CNI_NETNS": "dummy",
                    "CNI_IFNAME": "dummy",
                    "CNI_PATH": "dummy",
                },
            ),
        ),
    ),
    Case("version-verb-no-input", _CONFIG, calls=(Call("VERSION", stdin=""),)),
    Case(
        "verb-check-0.3.1", _CONFIG | {"cniVersion": "0.3.1"}, calls=(Call("ADD"), Call("CHECK"), Call("DEL"))
    ),
    Case(
        "verb-check-without-prev-result",
        _CONFIG,
        calls=(Call("ADD"), Call("CHECK", prev_result=False), Call("DEL")),
    ),
    Case("verb-check-never-added", _CONFIG, calls=(Call("CHECK"),)),
    Case(
        "prev-result-other-version",
        _CONFIG,
        calls=(
            Call(
                "CHECK",
                config={
                    "prevResult": {
                        "cniVersion": "0.4.0",
                        "ips": [{"version": "4", "address": "10.1.0.2/24"}],
                    },
                },
            ),
        ),
    ),
    Case("prev-result-string", _CONFIG, calls=(Call("CHECK", config={"prevResult": "x"}),)),
    Case("del-without-prev-result", _CONFIG, calls=(Call("ADD"), Call("DEL", prev_result=False))),
    Case("del-never-added", _CONFIG | {"ipMasq": True}, calls=(Call("DEL"), Call("DEL"))),
    Case("del-empty-netns", _CONFIG, calls=(Call("ADD"), Call("DEL", env={"CNI_NETNS": ""}))),
    Case("del-no-netns", _CONFIG, calls=(Call("ADD"), Call("DEL", env={"CNI_NETNS": None}))),
    Case(
        "del-vanished-netns",
        _CONFIG,
        calls=(
            Call("ADD"),
            # A namespace is gone with its last process, and the path's file with the runtime's clean-up.
            Call(
                "DEL",
                env={"CNI_NETNS": "/run/netns/vanished"},
                before=(
                    host("ip -n c1 link del eth0; while ip link show | grep -q veth; do sleep 0.01; done"),
                ),
            ),
        ),
    ),
    Case(
        "del-empty-netns-masquerade",
        _CONFIG | {"ipMasq": True, "isGateway": True},
        calls=(
            Call("ADD"),
            Call(
                "DEL",
                env={"CNI_NETNS": ""},
                before=(
                    host("ip -n c1 link del eth0; while ip link show | grep -q veth; do sleep 0.01; done"),
                ),
            ),
        ),
    ),
)

NAMES = (
    Case("network-name-absent", _CONFIG | {"name": None}, calls=REFUSED),
    Case("network-name-empty", _CONFIG | {"name": ""}, calls=REFUSED),
    Case("network-name-slash", _CONFIG | {"name": "a/b"}, calls=REFUSED),
    Case("network-name-leading-dot", _CONFIG | {"name": ".net"}, calls=REFUSED),
    Case("network-name-all-letters", _CONFIG | {"name": "Net_1.x-y"}),
    Case("network-name-number", _CONFIG | {"name": 7}, calls=REFUSED),
    Case("container-id-slash", _CONFIG, env={"CNI_CONTAINERID": "../c1"}),
    Case("container-id-space", _CONFIG, env={"CNI_CONTAINERID": "a b"}),
    Case("container-id-leading-dash", _CONFIG, env={"CNI_CONTAINERID": "-c1"}),
    Case("container-id-long", _CONFIG, env={"CNI_CONTAINERID": "0123456789abcdef" * 8}),
    Case("container-id-very-long", _CONFIG, "host-local", env={"CNI_CONTAINERID": "a" * 5000}),
    Case("ifname-16-characters", _CONFIG, env={"CNI_IFNAME": "interface-16-chr"}),
    Case("ifname-dot", _CONFIG, env={"CNI_IFNAME": "."}),
    Case("ifname-dot-dot", _CONFIG, env={"CNI_IFNAME": ".."}),
    Case("ifname-slash", _CONFIG, env={"CNI_IFNAME": "a/b"}),
    Case("ifname-colon", _CONFIG, env={"CNI_IFNAME": "eth0:1"}),
    Case("ifname-space", _CONFIG, env={"CNI_IFNAME": "eth 0"}),
    Case("ifname-pattern", _CONFIG, env={"CNI_IFNAME": "eth%d"}),
    Case("ifname-lo", _CONFIG, env={"CNI_IFNAME": "lo"}),
)

NAMESPACES = (
    Case("netns-missing", _CONFIG, env={"CNI_NETNS": "/run/netns/none"}),
    Case("netns-is-a-file", _CONFIG, env={"CNI_NETNS": "/etc/hostname"}),
    Case("netns-is-a-directory", _CONFIG, env={"CNI_NETNS": "/run"}),
    Case("netns-is-the-hosts", _CONFIG, env={"CNI_NETNS": "/run/netns/host"}, calls=(Call("ADD"),)),
    Case(
        "netns-is-the-hosts-on-purpose",
        _CONFIG,
        calls=(Call("ADD"),),
        env={
            "CNI_NETNS": "/run/netns/host",
            "CNI_NETNS_OVERRIDE": "1",
            "CNI_IFNAME": "eth7",
        },
    ),
    Case(
        "netns-is-own-process",
        _CONFIG,
        calls=(Call("ADD", env={"CNI_NETNS": "/proc/self/ns/net", "CNI_NETNS_OVERRIDE": "0"}),),
    ),
)

JSON = (
    _text("empty", ""),
    _text("white-space", " \n"),
    _text("null", "null"),
    _text("array", "[]"),
    _text("string", '"x"'),
    _text("truncated", '{"name": "net"'),
    _text("trailing-comma", '{"name": "net",}'),
    _text("two-documents", json.dumps(_CONFIG) + "{}"),
    _text("not-utf-8-escape", '{"name": "net", "cniVersion": "1.0.0", "x": "\\ud800"}'),
    _text("not-utf-8", json.dumps(_CONFIG | {"x": "a-b"}).replace("a-b", "a\udcffb")),
    _text("long-number", json.dumps(_CONFIG | {"x": 0}).replace('"x": 0', f'"x": {"9" * 5000}')),
    _text("nan", '{"name": "net", "cniVersion": "1.0.0", "mtu": NaN}'),
    _text("line-feeds", json.dumps(_CONFIG, indent=8) + "\n\n"),
)

CASES = ENVIRONMENT + VERBS + NAMES + NAMESPACES + JSON
