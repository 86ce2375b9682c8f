"""Calling one plugin as a process, the way the specification's section 2 says."""

import time
from errno import ETXTBSY

from shibafu.cni.config import parse_config
from shibafu.cni.delegate import parse_failure
from shibafu.cni.errors import DELEGATE, CniError
from shibafu.cni.jsontext import dumps
from shibafu.cni.process import Child

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

# As libcni: an installer may be writing the executable right now.
_BUSY_TRIES = 6
_BUSY_PAUSE = 1.0


def invoke_plugin(
    path: str, env: "Mapping[str, str]", config: "Mapping[str, object]"
) -> dict[str, object] | None:
    """Run a plugin and return what it printed; None when it printed nothing.

    Its log, on stderr, goes where this process's does.

    Args:
        path: the executable.
        env: its whole environment.
        config: the network configuration that it reads.

    Raises:
        CniError: it could not be run, printed nonsense, or what it answered.
    """
    child = _start(path, env, dumps(dict(config)).encode("utf-8", "surrogateescape"))
    status, output, _ = child.wait()
    name = path.rpartition("/")[2]
    if status:
        raise parse_failure(name, status, output)
    if not output.strip():
        return None
    try:
        return parse_config(output).values
    except CniError as error:
        what = f'plugin "{name}" answered {env.get("CNI_COMMAND", "")} with no JSON object'
        raise CniError(DELEGATE, what, error.msg) from None


def _start(path: str, env: "Mapping[str, str]", stdin: bytes) -> Child:
    tries = _BUSY_TRIES
    while True:
        try:
            return Child(path, [path], env, stdin, keep_stderr=False)
        except OSError as error:
            tries -= 1
            if error.errno != ETXTBSY or not tries:
                raise CniError(DELEGATE, f'cannot execute plugin "{path}": {error.strerror}') from None
        time.sleep(_BUSY_PAUSE)
