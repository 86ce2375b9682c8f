"""Where launchers come in: the socket that they connect to, and the waiting of spares for them."""

import time
from _socket import AF_UNIX, SOCK_SEQPACKET
from _socket import socket as _socket
from select import EPOLLET, EPOLLIN, epoll

from shibafu.engine.pages import look_up_proc, populate_pages

# Seconds without a call after which a spare prepares itself that was needed at once: earlier, it would take
# that time from the calls of a burst, which then takes twice as long.
_IDLE = 0.01
# Seconds until a spare tries again to accept a launcher that the kernel has no room for.
_PAUSE = 0.005


class Entrance:
    """The socket of an engine, and the one epoll instance that all of its spares wait for.

    A spare prepares itself before it waits, except when it is the only one: a call takes nearly twice as long
    in a spare that is not prepared. The youngest spare gets the next call, because its memory was prepared
    last, and more of it is still in the processor's caches. Of the processes that wait for one epoll
    instance, the kernel wakes the one that came last.

    Args:
        listener: the socket, bound, and non-blocking.
        stop: a descriptor that becomes readable when spares are to end.

    Raises:
        OSError: the kernel's refusal.
    """

    __slots__ = ("_listener", "_poller", "_stop")

    def __init__(self, listener: _socket, stop: int) -> None:
        self._listener = listener
        self._stop = stop
        self._poller = epoll()
        # Edge-triggered: as a rule one spare is woken for a launcher, and no second one, which would find
        # it gone. The end is for all of them.
        self._poller.register(listener.fileno(), EPOLLIN | EPOLLET)
        self._poller.register(stop, EPOLLIN)

    def listen(self, backlog: int) -> None:
        """Let launchers connect; so many may wait."""
        self._listener.listen(backlog)

    def accept(self, is_needed: bool) -> _socket | None:
        """Wait for a launcher, and close the entrance; None when the engine ends. For spares.

        Args:
            is_needed: whether no other spare waits, so that the next launcher must not wait for this one.
        """
        is_prepared = not is_needed
        if is_prepared:
            _prepare()
        while True:
            ready = [descriptor for descriptor, _ in self._poller.poll(None if is_prepared else _IDLE)]
            if not ready:
                _prepare()
                is_prepared = True
                continue
            if self._stop in ready:
                return None
            try:
                descriptor, _ = self._listener._accept()  # type: ignore[attr-defined]  # what socket.accept calls
            except (BlockingIOError, ConnectionAbortedError):
                continue  # another spare was first, or the launcher has already gone
            except OSError:
                time.sleep(_PAUSE)  # the launcher goes on waiting, and goes cold after a while
                continue
            finally:
                # Another launcher may have connected meanwhile.
                self._rearm()
            self._poller.close()
            # A launcher that connects after the engine has ended must not wait for this call.
            self._listener.close()
            return _socket(AF_UNIX, SOCK_SEQPACKET, 0, descriptor)

    def wake_another(self) -> None:
        """Wake a spare for a launcher if one has ended that was woken for it. For the parent.

        As long as epoll has an event to hand out, a new one wakes nobody: it is taken before.
        """
        self._poller.poll(0)
        self._rearm()

    def close(self) -> None:
        """Refuse launchers from now on, those that wait included. Spares still hear that they are to end."""
        self._listener.close()

    def _rearm(self) -> None:
        """Wake a spare if there is a launcher that none was woken for."""
        self._poller.modify(self._listener.fileno(), EPOLLIN | EPOLLET)


def _prepare() -> None:
    """Do in a spare what its call would lose time with."""
    populate_pages()
    look_up_proc()
