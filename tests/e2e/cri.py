"""containerd's CRI plugin, as kubelet calls it: pods without containers, which have a network and ports.

gRPC is a message of protobuf behind five bytes, sent by HTTP/2: curl(1) does that, and a pod needs few
fields.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from e2e.containerd import CRI, SOCKET
from e2e.machine import Machine

_SERVICE = "http://localhost/runtime.v1.RuntimeService"
_REQUEST, _ANSWER = "/run/cri-request", "/run/cri-answer"
_PROTOCOLS = ("tcp", "udp")

# A message's fields, by their numbers in cri-api's runtime/v1/api.proto.
Message = Mapping[int, "int | str | Message | list[Message]"]


class Kubelet:
    """Who asks a daemon of `containerd.CRI` for pods.

    Args:
        machine: where the daemon runs.
    """

    def __init__(self, machine: Machine) -> None:
        self.machine = machine

    def run_pod(
        self,
        name: str,
        ports: Sequence[tuple[str, int, int, str]] = (),
        annotations: Mapping[str, str] | None = None,
    ) -> str:
        """Run a pod and return its ID.

        Args:
            name: its name, in the namespace `default`.
            ports: the protocol, the port inside, the host's, and the host's address or nothing.
            annotations: of the pod.
        """
        config: Message = {
            1: {1: name, 2: f"uid-{name}", 3: "default"},
            5: [
                {1: _PROTOCOLS.index(protocol), 2: inside, 3: outside, 4: address}
                for protocol, inside, outside, address in ports
            ],
            7: [{1: key, 2: value} for key, value in (annotations or {}).items()],
            8: {1: self.machine.cgroup},
        }
        answer = self._call("RunPodSandbox", {1: config})
        # The only field: its tag, its length, itself.
        return answer[2:].decode()

    def remove_pod(self, pod: str) -> None:
        """End a pod: its network is taken away, twice."""
        for method in ("StopPodSandbox", "RemovePodSandbox"):
            self._call(method, {1: pod})

    def netns(self, pod: str) -> str:
        """Return the name of a pod's network namespace."""
        info = self.machine.run("ctr", f"--namespace={CRI}", "container", "info", pod)
        return Path(next(line for line in info.splitlines() if "netns/" in line).split('"')[3]).name

    def _call(self, method: str, message: Message) -> bytes:
        body = _encode(message)
        root = self.machine.root
        (root / _REQUEST.lstrip("/")).write_bytes(b"\0" + len(body).to_bytes(4, "big") + body)
        options = ("--silent", "--show-error", "--http2-prior-knowledge", "--unix-socket", SOCKET)
        headers = ("--header", "content-type: application/grpc", "--header", "te: trailers")
        files = ("--data-binary", f"@{_REQUEST}", "--output", _ANSWER, "--dump-header", "-")
        told = self.machine.run("curl", *options, *headers, *files, f"{_SERVICE}/{method}")
        assert "grpc-status: 0" in told, told
        return (root / _ANSWER.lstrip("/")).read_bytes()[5:]


def _encode(message: Message) -> bytes:
    """Return a message as protobuf has it on the wire."""
    parts = []
    for number, value in message.items():
        if isinstance(value, int):
            parts.append(_encode_number(number << 3) + _encode_number(value))
            continue
        for entry in [value] if isinstance(value, (str, Mapping)) else value:
            text = entry.encode() if isinstance(entry, str) else _encode(entry)
            parts.append(_encode_number(number << 3 | 2) + _encode_number(len(text)) + text)
    return b"".join(parts)


def _encode_number(number: int) -> bytes:
    digits = bytearray()
    while number > 0x7F:
        digits.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*digits, number])
