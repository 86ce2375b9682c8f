"""GC: the delegate frees what is not valid any more, and what was sent for it goes."""

from shibafu.cni.config import parse_valid_attachments
from shibafu.cni.delegate import Installation
from shibafu.cni.errors import CniError
from shibafu.cni.request import Request
from shibafu.lean.files import remove_file
from shibafu.overlay.delegation import OverlayConfig
from shibafu.overlay.sent_config import list_stale
from shibafu.overlay.subnet_file import HostSubnet, read_subnet_file
from shibafu.overlay.verbs import call_delegate, is_known_own
from shibafu.resource.teardown import Teardown


def collect_garbage(request: Request, installation: Installation) -> None:
    """Have the delegate free attachments that are not listed, and remove what was sent for them.

    What was sent to a plugin of another suite stays: few of these know GC, and their DEL needs it.

    Raises:
        CniError: everything that could not be removed.
    """
    config = OverlayConfig(request)
    teardown = Teardown()
    teardown.do(call_delegate, request, config.render(_find_host_subnet(config)), installation)
    valid = parse_valid_attachments(request.config)
    if valid is not None and not teardown.errors:
        for path, sent in list_stale(config.data_dir, request.network, valid):
            if not sent or is_known_own(request, sent, installation):
                teardown.do(remove_file, path)
    teardown.finish()


def _find_host_subnet(config: OverlayConfig) -> HostSubnet | None:
    """Return what the subnet file says, if it says anything."""
    try:
        return read_subnet_file(config.subnet_file)
    except (CniError, OSError):
        return None
