"""Other plugins get the environment that the caller gave, whatever the interpreter does to its own."""

import shutil
import subprocess
from collections.abc import Iterator
from json import dumps
from pathlib import Path

import pytest

from netns.namespaces import Namespace

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


@pytest.mark.root
@pytest.mark.parametrize(
    "extra",
    [
        {},
        {"LD_LIBRARY_PATH": "/opt/lib:/nonexistent", "LD_LIBRARY_PATH_ORIG": "the caller's own"},
        {"LANG": "C"},
        {"LC_ALL": "C"},
        {"LC_CTYPE": "C"},
        {"LC_CTYPE": "C.UTF-8"},
        {"LC_CTYPE": "POSIX", "LANG": "de_DE.UTF-8"},
        {"LC_CTYPE": "tr_TR.ISO-8859-9"},
        {"LC_CTYPE": "C", "LONG": "x" * 100_000},
    ],
    ids=lambda extra: ",".join(f"{name}={value[:20]}" for name, value in extra.items()) or "none",
)
def test_environment_of_a_delegated_plugin(built: Path, tmp_path: Path, extra: dict[str, str]) -> None:
    for env, seen in attach_and_detach(built / "shibafu-bridge", tmp_path / "dump-environ", **extra):
        # What keeps a plugin from being its own delegate.
        assert seen == env | {"SHIBAFU_DELEGATE": "dump-environ"}


@pytest.mark.root
def test_what_is_beside_a_copy_is_not_taken_for_ours(built: Path, tmp_path: Path) -> None:
    """It may be of another version, or of somebody else; ours is called as a function."""
    copy = shutil.copy(built / "shibafu-bridge", tmp_path)
    assert len(list(attach_and_detach(Path(copy), tmp_path / "shibafu-ipam"))) == 2
