"""What the command asks the agent for, from when that is found until it is answered."""

from collections.abc import Callable

from shibafu.overlay.rejoining import RejoinRequest, read_rejoin_request, remove_rejoin_request


class PendingRejoin:
    """What is asked for of one network.

    Args:
        network: its name.
        log: takes lines for people.
    """

    def __init__(self, network: str, log: Callable[[str], None]) -> None:
        self._network = network
        self._log = log
        self._request: RejoinRequest | None = None
        self._tried: RejoinRequest | None = None

    @property
    def is_leaving(self) -> bool:
        """Whether this host may be about to leave its subnet, of which containers get no more addresses."""
        return self._request is not None and self._request.new_subnet and self._request != self._tried

    def drop_earlier(self) -> None:
        """Remove what would have an agent that starts leave its subnet; other requests can wait for it."""
        request = self._read()
        if request is not None and request.new_subnet:
            self._log("another subnet was asked for before the agent started; it has to be asked for again")
            remove_rejoin_request(self._network)

    def take(self) -> RejoinRequest | None:
        """Look what is asked for; return it, unless that is known already."""
        request, before = self._read(), self._request
        if request is not None and request.new_subnet and not request.is_waited_for:
            self._log("another subnet was asked for by a command that has ended, which has no effect now")
            remove_rejoin_request(self._network, request)
            request = None
        self._request = request
        if request is None or request == before:
            return None
        self._log("this host is asked to join again")
        return request

    def note_tried(self, request: RejoinRequest) -> None:
        """Note that it has been tried."""
        self._tried = request

    def answer(self) -> None:
        """Say that it has been tried, now that what came of it is written."""
        if self._tried is not None:
            remove_rejoin_request(self._network, self._tried)
            self.drop(self._tried)
            self._tried = None

    def drop(self, request: RejoinRequest | None = None) -> None:
        """Do without what is asked for, if it is a certain request; None for any."""
        if request is None or request == self._request:
            self._request = None

    def _read(self) -> RejoinRequest | None:
        try:
            return read_rejoin_request(self._network)
        except ValueError as error:
            self._log(f"what this host is asked for is damaged, and removed: {error}")
            remove_rejoin_request(self._network)
            return None
