"""What other plugins get of a call's environment."""

import subprocess
from collections.abc import Iterator
from json import dumps
from pathlib import Path

from support.namespaces import Namespace

IPAM = """#!/bin/sh
cat /proc/$$/environ >"{dump}"
[ "$CNI_COMMAND" != ADD ] || echo '{{"cniVersion": "1.0.0", "ips": [{{"address": "10.99.0.2/24"}}]}}'
"""


def attach_and_detach(
    bridge: Path, ipam: Path, **extra: str
) -> Iterator[tuple[dict[str, str], dict[str, str]]]:
    """Yield the environments of ADD and DEL: what the bridge got, and the IPAM plugin, made here, from it."""
    dump = ipam.with_name("environ")
    ipam.write_text(IPAM.format(dump=dump))
    ipam.chmod(0o755)
    config = {"cniVersion": "1.0.0", "name": "dist", "type": "bridge", "bridge": "shibadist0"}
    config |= {"ipam": {"type": ipam.name}}  # type: ignore[dict-item]
    with Namespace("host") as host, Namespace("container") as container:
        for command in ("ADD", "DEL"):
            env = {
                "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
                "CNI_COMMAND": command,
                "CNI_CONTAINERID": "dist-1",
                "CNI_NETNS": container.path,
                "CNI_IFNAME": "eth0",
                "CNI_PATH": str(ipam.parent),
                "ÜNICODE": "名",
            } | extra
            done = subprocess.run(
                ["/usr/sbin/ip", "netns", "exec", host.name, bridge],
                env=env,
                input=dumps(config).encode(),
                capture_output=True,
                check=False,
                timeout=60,
            )
            assert done.returncode == 0, done.stdout + done.stderr
            yield env, dict(line.split("=", 1) for line in dump.read_text().split("\0") if line)
            dump.unlink()
