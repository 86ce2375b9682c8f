"""GC: the delegate frees what is not valid any more, and what was sent for it goes."""

from shibafu.cni.config import Section, parse_valid_attachments
from shibafu.cni.delegate import Installation, delegate
from shibafu.cni.errors import CniError
from shibafu.cni.request import Request
from shibafu.lean.files import remove_file
from shibafu.overlay.delegation import OverlayConfig
from shibafu.overlay.sent_config import list_stale
from shibafu.overlay.subnet_file import HostSubnet, read_subnet_file
from shibafu.overlay.verbs import call_delegate, is_known_own
from shibafu.resource.teardown import Teardown

# The version of the specification that GC appeared in.
_SINCE = "1.1.0"


def collect_garbage(request: Request, installation: Installation) -> None:
    """Have the delegate free attachments that are not listed, and remove what was sent for them.

    What was sent to a plugin of another suite stays: few of these know GC, and their DEL needs it.

    Raises:
        CniError: everything that could not be removed.
    """
    config = OverlayConfig(request)
    teardown = Teardown()
    values = config.render(_find_host_subnet(config))
    if _knows_gc(request, values, installation):
        teardown.do(call_delegate, request, values, installation)
    valid = parse_valid_attachments(request.config)
    if valid is not None and not teardown.errors:
        for path, sent in list_stale(config.data_dir, request.network, valid):
            if not sent or is_known_own(request, sent, installation):
                teardown.do(remove_file, path)
    teardown.finish()


def _knows_gc(request: Request, values: dict[str, object], installation: Installation) -> bool:
    """Return whether the delegate can be asked: an older one would only complain that no container is named.

    Raises:
        CniError: it is not installed, or does not say which versions it has.
    """
    if is_known_own(request, values, installation):
        return True
    answer = delegate(request, Section(values, "NetConf").text("type"), "VERSION", installation)
    return answer is not None and _SINCE in answer.texts("supportedVersions")


def _find_host_subnet(config: OverlayConfig) -> HostSubnet | None:
    """Return what the subnet file says, if it says anything."""
    try:
        return read_subnet_file(config.subnet_file)
    except (CniError, OSError):
        return None
