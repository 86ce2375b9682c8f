"""STATUS: would ADD work now?"""

from shibafu.bridge.config import BridgeConfig
from shibafu.cni.delegate import Installation, delegate
from shibafu.cni.errors import NOT_AVAILABLE, CniError
from shibafu.cni.process import find_program
from shibafu.cni.request import Request
from shibafu.firewall.backend import NFTABLES, choose_backend


def status(request: Request, installation: Installation) -> None:
    """Answer nothing when ADD would work.

    Raises:
        CniError: NOT_AVAILABLE and the reason; or the IPAM plugin's answer.
    """
    config = BridgeConfig(request)
    if config.needs_rules:
        backend = choose_backend(config.ip_masq_backend, request.env)
        # ip6tables-restore comes with it, and a network of IPv4 alone does not need it.
        program = "nft" if backend == NFTABLES else "iptables-restore"
        switches = " and ".join(
            key for key, value in (('"ipMasq"', config.ip_masq), ('"isolate"', config.isolate)) if value
        )
        _require(request, program, f'install it, or set {switches} to false; "ipMasqBackend" is {backend}')
    if config.mac_spoof_check:
        _require(request, "nft", 'install nftables, or set "macspoofchk" to false')
    if config.has_ipam:
        delegate(request, config.ipam_type, "STATUS", installation)


def _require(request: Request, program: str, details: str) -> None:
    if find_program(program, request.env.get("PATH", "")) is None:
        raise CniError(NOT_AVAILABLE, f"{program} is not installed", details)
