"""The container's addresses, as its IPAM plugin has recorded them."""

import os

from shibafu.cni.delegate import Installation, delegate, find_plugin, parse_answer, prepare_delegate
from shibafu.cni.errors import DELEGATE, CniError
from shibafu.resource.base import FILES, Fault, Resource

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shibafu.cni.request import Request
    from shibafu.cni.result import Result
    from shibafu.resource.view import View


class AddressLease(Resource):
    """The container's addresses, as its IPAM plugin has recorded them.

    Args:
        request: the call.
        ipam_type: the plugin.
        installation: whose programs are called as functions.
        result: the addresses that are known; None before ADD has any.
    """

    __slots__ = ("_installation", "_ipam_type", "_is_callable", "_request", "result")
    medium = FILES

    def __init__(
        self, request: "Request", ipam_type: str, installation: Installation, result: "Result | None" = None
    ) -> None:
        self._request = request
        self._ipam_type = ipam_type
        self._installation = installation
        self._is_callable = True
        # What the plugin answered ADD with.
        self.result = result

    @property
    def title(self) -> str:
        """See `Resource.title`."""
        return "the address"

    def describe(self) -> dict[str, object]:
        """See `Resource.describe`."""
        return {"addresses": [str(ip.address) for ip in self.result.ips] if self.result is not None else []}

    def faults(self, view: "View") -> list[Fault]:
        """Ask the plugin.

        Raises:
            CniError: what it says, in its own words and with its code.
        """
        delegate(self._request, self._ipam_type, "CHECK", self._installation)
        return []

    def ensure(self, view: "View") -> bool:
        """Ask the plugin for addresses.

        Raises:
            CniError: its error, or that it gave no address.
        """
        self._is_callable = False
        path = find_plugin(self._ipam_type, self._request.env.get("CNI_PATH", ""))
        self._is_callable = os.access(path, os.X_OK)
        answer = delegate(self._request, self._ipam_type, "ADD", self._installation)
        result = parse_answer(self._ipam_type, answer)
        if not result.ips:
            raise CniError(
                DELEGATE,
                "IPAM plugin returned missing IP config",
                f'plugin "{self._ipam_type}" succeeded but gave no address; check its configuration',
            )
        self.result = result
        return True

    def load(self) -> None:
        """Do ahead what takes time before one of our own plugins is called."""
        prepare_delegate(self._request, self._ipam_type, self._installation)

    def remove(self) -> None:
        """Have the plugin release what it may have given, also where it failed half-way."""
        if self._is_callable:
            delegate(self._request, self._ipam_type, "DEL", self._installation)
