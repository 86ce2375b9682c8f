"""Calling one plugin as a process, the way the specification's section 2 says."""

import time
from errno import ETXTBSY

from shibafu.cni.config import parse_config
from shibafu.cni.delegate import describe_hanging, find_own, find_plugin, parse_failure
from shibafu.cni.errors import DELEGATE, CniError
from shibafu.lean.json import dumps
from shibafu.lean.subprocess import Child

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

# As libcni: an installer may be writing the executable right now.
_BUSY_TRIES = 6
_BUSY_PAUSE = 1.0
# Seconds that a plugin may take, as much as kubelet's patience with an ADD: shibafu-bridge needs three
# quarters of it when its IPAM plugin hangs in ADD and, to undo that, in DEL.
PATIENCE = 240.0


def find_executable(plugin_type: str, plugin_path: list[str]) -> str:
    """Return the path of a plugin's executable; those of this suite also in this program's folder.

    Args:
        plugin_type: as a configuration has it.
        plugin_path: the directories of plugins.

    Raises:
        CniError: there is none.
    """
    try:
        return find_plugin(plugin_type, ":".join(plugin_path))
    except CniError:
        own = find_own(plugin_type)
        if own is None:
            raise
        return own


def invoke_plugin(
    path: str, env: "Mapping[str, str]", config: "Mapping[str, object]", patience: float = PATIENCE
) -> dict[str, object] | None:
    """Run a plugin and return what it printed; None when it printed nothing.

    Its log, on stderr, goes where this process's does.

    Args:
        path: the executable.
        env: its whole environment.
        config: the network configuration that it reads.
        patience: seconds after which it is ended.

    Raises:
        CniError: it could not be run, did not end, printed nonsense, or what it answered.
    """
    child = _start(path, env, dumps(dict(config)).encode("utf-8", "surrogateescape"))
    name = path.rpartition("/")[2]
    try:
        status, output = child.wait_within(patience)
    except TimeoutError:
        raise describe_hanging(name, env.get("CNI_COMMAND", ""), patience) from None
    if status:
        raise parse_failure(name, status, output)
    if not output.strip():
        return None
    try:
        return parse_config(output).values
    except CniError as error:
        what = f'plugin "{name}" did not answer {env.get("CNI_COMMAND", "")} with a JSON object'
        raise CniError(DELEGATE, what, error.msg) from None


def _start(path: str, env: "Mapping[str, str]", stdin: bytes) -> Child:
    tries = _BUSY_TRIES
    while True:
        try:
            return Child(path, [path], env, stdin, keep_stderr=False, has_session=True)
        except OSError as error:
            tries -= 1
            if error.errno != ETXTBSY or not tries:
                raise CniError(DELEGATE, f'cannot execute plugin "{path}": {error.strerror}') from None
        time.sleep(_BUSY_PAUSE)
