"""A container image made of busybox alone, as an OCI archive that all runtimes import."""

import hashlib
import io
import ipaddress
import json
import os
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path

NAME = "localhost/busybox:latest"
BUSYBOX = Path("/usr/bin/busybox")
# What Go calls them.
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_APPLETS = ("cat", "hostname", "httpd", "ip", "ping", "sh", "sleep", "true")
# A page of busybox's httpd, /www/cgi-bin/address, that tells its clients which address they come from, and
# how to ask for it. Not with wget: linked statically, it crashes when it looks up the port's number.
SEEN_ADDRESS = "#!/bin/sh\necho\necho $REMOTE_ADDR\n"
FETCH = r"printf 'GET /cgi-bin/address HTTP/1.0\r\n\r\n' | busybox nc -w 3 $1 $2"


def parse_seen_address(answer: str) -> str:
    """Return the address in the server's answer, such as `[::ffff:192.0.2.1]` or `127.0.0.1`."""
    address = ipaddress.ip_address(answer.rsplit(maxsplit=1)[-1].strip("[]"))
    return str(getattr(address, "ipv4_mapped", None) or address)


def make_rootfs(directory: Path) -> None:
    """Write a root file system for runtimes that want no image."""
    with tarfile.open(fileobj=io.BytesIO(_make_layer())) as layer:
        layer.extractall(directory)  # noqa: S202 - made right here


def make_layer(path: Path, programs: Sequence[Path] = ()) -> None:
    """Write the image's only layer, as tar(1) does."""
    path.write_bytes(_make_layer(programs))


def make_archive(path: Path, programs: Sequence[Path] = (), command: Sequence[str] = ("/bin/sh",)) -> None:
    """Write the image.

    Args:
        path: where.
        programs: what else is in its /bin.
        command: what its containers run by default.
    """
    layer = _make_layer(programs)
    config = _to_json(
        {
            "architecture": _ARCHITECTURES.get(os.uname().machine, os.uname().machine),
            "os": "linux",
            "config": {"Cmd": command, "Env": ["PATH=/bin"]},
            "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
        }
    )
    manifest = _to_json(
        {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": _describe("application/vnd.oci.image.config.v1+json", config),
            "layers": [_describe("application/vnd.oci.image.layer.v1.tar", layer)],
        }
    )
    entry = _describe("application/vnd.oci.image.manifest.v1+json", manifest)
    # containerd reads the first annotation, podman the second.
    entry["annotations"] = {"io.containerd.image.name": NAME, "org.opencontainers.image.ref.name": NAME}
    index = _to_json({"schemaVersion": 2, "manifests": [entry]})
    with tarfile.open(path, "w") as archive:
        _add_file(archive, "oci-layout", b'{"imageLayoutVersion": "1.0.0"}')
        _add_file(archive, "index.json", index)
        for blob in (layer, config, manifest):
            _add_file(archive, f"blobs/{_digest(blob).replace(':', '/')}", blob)


def _make_layer(programs: Sequence[Path] = ()) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as layer:
        for directory in ("bin", "dev", "etc", "proc", "sys", "tmp", "var", "www", "www/cgi-bin"):
            entry = tarfile.TarInfo(directory)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            layer.addfile(entry)
        for program in (BUSYBOX, *programs):
            _add_file(layer, f"bin/{program.name}", program.read_bytes())
        _add_file(layer, "www/cgi-bin/address", SEEN_ADDRESS.encode())
        for entry in _make_links():
            layer.addfile(entry)
    return content.getvalue()


def _make_links() -> Iterator[tarfile.TarInfo]:
    for applet in _APPLETS:
        entry = tarfile.TarInfo(f"bin/{applet}")
        entry.type, entry.linkname = tarfile.SYMTYPE, "busybox"
        yield entry


def _add_file(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), 0o755
    archive.addfile(entry, io.BytesIO(content))


def _describe(media_type: str, blob: bytes) -> dict[str, object]:
    return {"mediaType": media_type, "digest": _digest(blob), "size": len(blob)}


def _digest(blob: bytes) -> str:
    return f"sha256:{hashlib.sha256(blob).hexdigest()}"


def _to_json(value: object) -> bytes:
    return json.dumps(value).encode()
