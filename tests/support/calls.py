"""Calling a plugin inside the test's own process."""

from collections.abc import Mapping
from io import BytesIO
from json import dumps, loads
from typing import Any

from shibafu.cni import skel
from shibafu.cni.config import Section
from shibafu.cni.request import Request
from shibafu.cni.version import SUPPORTED

ENVIRONMENT = {
    "CNI_CONTAINERID": "ctr-1",
    "CNI_NETNS": "/run/netns/ctr-1",
    "CNI_IFNAME": "eth0",
    "CNI_PATH": "/opt/cni/bin",
}


def make_request(config: Mapping[str, object] | None = None, command: str = "ADD", **env: str) -> Request:
    """Return a valid call of version 1.1.0 on network `net`, changed by `config` and by `env`."""
    document: dict[str, object] = {"cniVersion": "1.1.0", "name": "net", "type": "bridge"}
    document |= config or {}
    environment = ENVIRONMENT | {"CNI_COMMAND": command} | env
    stdin = dumps(document).encode()
    return Request(command, environment, stdin, Section(document, "NetConf"), str(document["cniVersion"]))


def call(
    verbs: Mapping[str, "skel.Verb"], command: str, stdin: bytes | Mapping[str, object], **env: str
) -> tuple[int, Any]:
    """Run a plugin with these verbs; return the exit status and its answer, None for no output."""
    document = stdin if isinstance(stdin, bytes) else dumps(stdin).encode()
    answer = BytesIO()
    environment = ENVIRONMENT | {"CNI_COMMAND": command} | env
    plugin = skel.Plugin("sample", verbs, SUPPORTED)
    status = skel.run(plugin, environment, BytesIO(document), answer)
    text = answer.getvalue()
    return status, loads(text) if text else None
