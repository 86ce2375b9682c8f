"""A proxy between an agent and etcd, which kills the agent at one of its requests."""

import os
import signal
import socket
from contextlib import suppress
from threading import Lock, Thread

from netns.overlay_lab import OverlayHost

_PORT = 2400
_LARGEST = 1 << 16


class KillingProxy:
    """Passes an agent's requests on to etcd, and counts them.

    Args:
        host: whose agent, which is to be configured with `url`.
        etcd: the address of etcd.

    Attributes:
        url: the endpoint that it is.
        count: how many requests there were since the last `arm`.
    """

    def __init__(self, host: OverlayHost, etcd: str) -> None:
        self.url = f"http://127.0.0.1:{_PORT}"
        self.count = 0
        self._host = host
        self._etcd = etcd
        self._fatal = 0
        self._is_done_first = False
        self._lock = Lock()

    def __enter__(self) -> "KillingProxy":
        with self._host.namespace.enter():
            self._listener = socket.create_server(("127.0.0.1", _PORT))
        self._thread = Thread(target=self._serve)
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def arm(self, fatal: int = 0, is_done_first: bool = False) -> None:
        """Start counting again, and kill the agent at a request.

        Args:
            fatal: which one, from 1; 0 for none.
            is_done_first: whether etcd gets it, and the agent is killed before it gets the answer.
        """
        with self._lock:
            self.count, self._fatal, self._is_done_first = 0, fatal, is_done_first

    def _serve(self) -> None:
        with suppress(OSError):  # it is closed
            while True:
                Thread(target=self._connect, args=self._listener.accept()[:1], daemon=True).start()

    def _connect(self, agent: socket.socket) -> None:
        with agent, self._host.namespace.enter(), socket.create_connection((self._etcd, 2379)) as etcd:
            is_fatal: list[bool] = [False]
            answers = Thread(target=self._pass_answers, args=(agent, etcd, is_fatal), daemon=True)
            answers.start()
            with suppress(OSError):
                while request := agent.recv(_LARGEST):
                    # A body comes with its header, or after it; bodies are JSON.
                    is_fatal[0] = self._is_fatal(request) or is_fatal[0]
                    if is_fatal[0] and not self._is_done_first:
                        self._kill()
                        break
                    etcd.sendall(request)
            with suppress(OSError):
                etcd.shutdown(socket.SHUT_RDWR)
            answers.join()

    def _is_fatal(self, request: bytes) -> bool:
        if not request.startswith(b"POST "):
            return False
        with self._lock:
            self.count += 1
            return self.count == self._fatal

    def _pass_answers(self, agent: socket.socket, etcd: socket.socket, is_fatal: list[bool]) -> None:
        with suppress(OSError):
            while answer := etcd.recv(_LARGEST):
                if is_fatal[0]:
                    self._kill()
                    break
                agent.sendall(answer)
        with suppress(OSError):
            agent.shutdown(socket.SHUT_RDWR)

    def _kill(self) -> None:
        os.kill(self._host.find_agent(), signal.SIGKILL)
