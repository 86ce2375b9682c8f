"""STATUS: would ADD work now?"""

from shibafu.bridge.config import BridgeConfig
from shibafu.cni.delegate import Installation, delegate
from shibafu.cni.errors import NOT_AVAILABLE, CniError
from shibafu.cni.process import find_program
from shibafu.cni.request import Request


def status(request: Request, installation: Installation) -> None:
    """Answer nothing when ADD would work.

    Raises:
        CniError: NOT_AVAILABLE and the reason; or the IPAM plugin's answer.
    """
    config = BridgeConfig(request)
    if config.ip_masq:
        for program in ("iptables-restore", "ip6tables-restore"):
            if find_program(program, request.env.get("PATH", "")) is None:
                raise CniError(
                    NOT_AVAILABLE, f"{program} is not installed", 'install iptables, or set "ipMasq" to false'
                )
    if config.has_ipam:
        delegate(request, config.ipam_type, "STATUS", installation)
