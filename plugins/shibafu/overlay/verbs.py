"""The verbs: each is the delegate's, with the configuration that the host's subnet makes of it.

Nothing here asks the agent or etcd: containers come and go while these are away, once there is a subnet file.
"""

from shibafu.cni.config import Section, parse_config
from shibafu.cni.delegate import Installation, delegate, find_plugin
from shibafu.cni.errors import NOT_AVAILABLE, TRY_AGAIN_LATER, CniError
from shibafu.cni.request import Request
from shibafu.lean.files import read_file
from shibafu.lean.json import dumps
from shibafu.overlay.delegation import OverlayConfig
from shibafu.overlay.sent_config import SentConfig
from shibafu.overlay.subnet_file import calc_state_file, read_subnet_file, require_host_subnet

_MAX_STATE = 1 << 20


def add(request: Request, installation: Installation) -> dict[str, object] | None:
    """Have the delegate attach the container, and return its answer.

    Raises:
        CniError: the subnet file is missing, or the delegate's error.
    """
    config = OverlayConfig(request)
    values = config.render(require_host_subnet(config.subnet_file, TRY_AGAIN_LATER))
    # Before anything is written: it may not be installed.
    is_own = _is_own(request, values, installation)
    sent = SentConfig(config.data_dir, request)
    sent.write(values)
    try:
        return call_delegate(request, values, installation)
    except CniError:
        # What another plugin has left behind, its DEL needs this for.
        if is_own:
            sent.restore()
        raise


def check(request: Request, installation: Installation) -> None:
    """Have the delegate check the attachment; without a subnet file, against what it was made with.

    Raises:
        CniError: the delegate's error.
    """
    config = OverlayConfig(request)
    host = read_subnet_file(config.subnet_file)
    sent = SentConfig(config.data_dir, request).read() if host is None else None
    if sent is not None:
        values = config.amend(sent)
    else:
        values = config.render(host or require_host_subnet(config.subnet_file, TRY_AGAIN_LATER))
    call_delegate(request, values, installation)


def delete(request: Request, installation: Installation) -> None:
    """Have the delegate remove the attachment.

    Where it is not known how that was made, only a plugin of this suite is called: it finds everything by
    the attachment's name. flannel's plugin calls none.

    Raises:
        CniError: the delegate's error; what was sent is kept.
    """
    config = OverlayConfig(request)
    file = SentConfig(config.data_dir, request)
    sent = file.read()
    if sent is not None:
        call_delegate(request, config.amend(sent), installation)
    else:
        values = config.render(None)
        if is_known_own(request, values, installation):
            call_delegate(request, values, installation)
    file.remove()


def status(request: Request, installation: Installation) -> None:
    """Answer nothing when ADD would work.

    Raises:
        CniError: NOT_AVAILABLE and the reason, or the delegate's answer.
    """
    config = OverlayConfig(request)
    try:
        host = require_host_subnet(config.subnet_file, NOT_AVAILABLE)
    except CniError as error:
        raise CniError(NOT_AVAILABLE, error.msg, error.details) from None
    _refuse_taken_subnet(request.network, config.subnet_file)
    call_delegate(request, config.render(host), installation)


def _refuse_taken_subnet(network: str, subnet_file: str) -> None:
    """Refuse a subnet that another host has, too: its containers' answers go there.

    Raises:
        CniError: NOT_AVAILABLE and what the agent says.
    """
    try:
        state = parse_config(read_file(calc_state_file(network), _MAX_STATE) or b"{}").values
    except CniError:
        return  # somebody has written into it
    if state.get("state") == "taken" and state.get("subnetFile") == subnet_file:
        raise CniError(NOT_AVAILABLE, str(state.get("trouble")), str(state.get("hint")))


def _is_own(request: Request, values: dict[str, object], installation: Installation) -> bool:
    """Return whether a delegate is one of this suite, which is called inside this process.

    Raises:
        CniError: it is not installed, or the plugin that is running.
    """
    plugin_type = Section(values, "NetConf").text("type")
    return installation.find_own(find_plugin(plugin_type, request.env.get("CNI_PATH", ""))) is not None


def is_known_own(request: Request, values: dict[str, object], installation: Installation) -> bool:
    """Return the same; what is not installed is none."""
    try:
        return _is_own(request, values, installation)
    except CniError:
        return False


def call_delegate(
    request: Request, values: dict[str, object], installation: Installation
) -> dict[str, object] | None:
    """Call the delegate with a configuration of its own, and return what it answered."""
    config = Section(values, "NetConf")
    call = Request(request.command, request.env, dumps(values).encode(), config, request.cni_version)
    answer = delegate(call, config.text("type"), request.command, installation)
    return answer.values if answer is not None else None
