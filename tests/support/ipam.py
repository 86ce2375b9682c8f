"""Calling shibafu-ipam inside the test's own process, and looking at what it left on disk."""

from collections.abc import Mapping
from io import BytesIO
from json import dumps, loads
from pathlib import Path
from typing import Any

from shibafu.lean.ip import Address
from shibafu_ipam.__main__ import run
from shibafu_ipam.bitmap import PAGE_ADDRESSES
from shibafu_ipam.index import Index
from shibafu_ipam.rebuild import Survey
from shibafu_ipam.store import Store

# Stands for the container's network namespace where a test needs one that is there.
LIVING_NETNS = "/proc/self/ns/net"


class Ipam:
    """A network whose addresses shibafu-ipam gives.

    Args:
        data_dir: the directory of all networks.
        ipam: the `ipam` section, without `dataDir`.
        config: further keys of the network configuration.
    """

    def __init__(
        self,
        data_dir: Path,
        ipam: Mapping[str, object] | None = None,
        config: Mapping[str, object] | None = None,
    ) -> None:
        self.data_dir = data_dir
        self.section: dict[str, object] = {"type": "host-local", "dataDir": str(data_dir)}
        self.section |= ipam if ipam is not None else {"subnet": "10.1.0.0/24"}
        self.config: dict[str, object] = {"cniVersion": "1.1.0", "name": "net", "type": "bridge"}
        self.config |= config or {}

    @property
    def directory(self) -> Path:
        """The network's directory."""
        return self.data_dir / str(self.config["name"])

    @property
    def index_directory(self) -> Path:
        """The directory of the network's index."""
        return self.data_dir / ".shibafu" / str(self.config["name"])

    def document(self, **config: object) -> dict[str, object]:
        """Return the network configuration, changed by `config`."""
        return self.config | {"ipam": self.section} | config

    def call(
        self,
        command: str,
        container: str = "c1",
        ifname: str = "eth0",
        netns: str = LIVING_NETNS,
        cni_args: str = "",
        **config: object,
    ) -> tuple[int, Any]:
        """Return the exit status and the answer, None for no output."""
        env = {
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": container,
            "CNI_IFNAME": ifname,
            "CNI_NETNS": netns,
            "CNI_PATH": "/opt/cni/bin",
            "CNI_ARGS": cni_args,
        }
        answer = BytesIO()
        status = run(env, BytesIO(dumps(self.document(**config)).encode()), answer)
        text = answer.getvalue()
        return status, loads(text) if text else None

    def add(self, container: str = "c1", ifname: str = "eth0", **more: Any) -> list[str]:
        """ADD, which must succeed; return the addresses without their prefixes."""
        status, answer = self.call("ADD", container, ifname, **more)
        assert status == 0, answer
        return [ip["address"].partition("/")[0] for ip in answer["ips"]]

    def succeed(self, command: str, container: str = "c1", ifname: str = "eth0", **more: Any) -> None:
        """Call a verb that must succeed and print nothing."""
        assert self.call(command, container, ifname, **more) == (0, None)

    def fail(self, command: str, container: str = "c1", ifname: str = "eth0", **more: Any) -> tuple[int, str]:
        """Call a verb that must fail; return the error's code and message."""
        status, answer = self.call(command, container, ifname, **more)
        assert status == 1, answer
        return answer["code"], answer["msg"]

    def collect_garbage(self, *valid: tuple[str, str]) -> tuple[int, Any]:
        """GC of all but these attachments, in an environment like cnitool's."""
        listed: Any = [{"containerID": container, "ifname": ifname} for container, ifname in valid]
        return self.call("GC", "", "", "", **{"cni.dev/valid-attachments": listed})

    def leases(self) -> dict[str, str]:
        """Return the content of each lease file, with `/` in place of the line's end."""
        if not self.directory.exists():
            return {}
        return {
            path.name: path.read_bytes().decode().replace("\r\n", "/")
            for path in self.directory.iterdir()
            if path.name != "lock" and not path.name.startswith("last_reserved_ip.")
        }

    def write_lease(self, address: str, body: bytes) -> None:
        """Write a lease as host-local or a person would."""
        self.directory.mkdir(parents=True, exist_ok=True)
        (self.directory / address).write_bytes(body)

    def is_index_valid(self) -> bool:
        """Return whether the next operation will believe the index."""
        with Index(Store(str(self.data_dir), str(self.config["name"]))) as index:
            return self.directory.exists() and index.is_valid()

    def check_index(self) -> None:
        """Compare a valid index with what the leases say."""
        with Index(Store(str(self.data_dir), str(self.config["name"]))) as index:
            if not self.directory.exists() or not index.is_valid():
                return
            survey = Survey(index)
            assert not survey.dropped
            expected = {owner: set(record.addresses) for owner, record in survey.records.items()}
            assert {owner: set(r.addresses) for owner, r in index.records.read_all().items()} == expected
            taken = {address for addresses in expected.values() for address in addresses}
            assert taken == set(self._taken())

    def _taken(self) -> list[Address]:
        taken = []
        for path in (self.index_directory / "pages").iterdir():
            version, _, number = path.name.partition("-")
            bits = int.from_bytes(path.read_bytes(), "little")
            base = int(number, 16) * PAGE_ADDRESSES
            taken += [Address(int(version), base + n) for n in range(PAGE_ADDRESSES) if bits >> n & 1]
        return taken
