"""shibafu-hook, the executable.

An OCI runtime (runc, crun, anything built on libcontainer) runs it as a createRuntime or prestart hook
when a container is created, and as a poststop hook when it is gone. Hooks are waited for, so that this
and everything it imports keep to the import budget of the plugins; see shibafu.bridge.__main__.
"""

import os
import sys

from shibafu.cni.directories import UMASK
from shibafu.cni.errors import CniError, calc_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import BinaryIO, TextIO

_USAGE = """Usage: shibafu-hook [--KEY=VALUE]... <STATE

A hook for OCI runtimes: list it under createRuntime and under poststop in a bundle's config.json.
It reads the container's state from standard input. A container with a process is attached to its
networks, a container without one is detached.

  --network=NAME,...    networks, of which the container gets eth0, eth1, ...; "none": loopback only
  --ip=ADDRESS,...      addresses in the first network; --ip.NAME in another one
  --mac=ADDRESS         hardware address in the first network; --mac.NAME in another one
  --ports=[IP:]HOST:CONTAINER[/PROTOCOL],...         ports to publish
  --bandwidth=ingress=RATE[:BURST],egress=RATE[:BURST]  limits in bit/s, with K, M or G
  --namespace=NAMESPACE   what network policies find it by: its namespace, a label of any KEY,
  --labels.KEY=VALUE      and names of its ports
  --named-ports=NAME=PORT[/PROTOCOL],...
  --resolv-conf=FILE    file to write as the container's /etc/resolv.conf
  --hosts=FILE          file to write as its /etc/hosts

Each is also an annotation of the bundle, such as "org.shibafu.network": "blue". Annotations cannot change
what a flag sets and, if there are flags, cannot publish ports below 1024, unless this is allowed:

  --allow=KEY[=VALUE|...]  annotations may set KEY: to anything, or to these values only; may be repeated

  --conf-dir=DIRECTORY  networks' configurations (/etc/cni/net.d)
  --cache-dir=DIRECTORY results of attachments (/var/lib/cni/results)
  --cni-path=PATH       plugins (CNI_PATH, or else /opt/cni/bin:/usr/lib/cni)
  --sticky-dir=DIRECTORY  save addresses: a container with the same ID gets them again if they are free
"""


def run(argv: "Sequence[str]", env: "Mapping[str, str]", stdin: "BinaryIO", stderr: "TextIO") -> int:
    """Do what the state on stdin asks for.

    Args:
        argv: flags.
        env: the environment; runtimes give none.
        stdin: the container's state.
        stderr: takes one sentence when something fails, which the runtime shows to its user.

    Returns:
        The exit status: 0, or 1 after a failure, or 2 when it is called in a wrong way.
    """
    if "--help" in argv or "-h" in argv:
        stderr.write(_USAGE)
        return 0
    if stdin.isatty():
        stderr.write(_USAGE)
        return 2
    try:
        _run(argv, env, stdin.read())
    except CniError as error:
        stderr.write(_calc_sentence(error.msg, error.details))
        return 1
    except OSError as error:
        stderr.write(_calc_sentence(str(error), ""))
        return 1
    except Exception as error:  # a defect here must still be told in one sentence
        what = f"internal error, please report it: {type(error).__name__}: {error}"
        stderr.write(_calc_sentence(what, _where(error)))
        return 1
    return 0


def _run(argv: "Sequence[str]", env: "Mapping[str, str]", document: bytes) -> None:
    from shibafu.hook.attach import attach
    from shibafu.hook.container import parse_state
    from shibafu.hook.detach import detach
    from shibafu.hook.settings import parse_flags, parse_networks, parse_settings
    from shibafu.runtime.chain import Runtime

    flags = parse_flags(argv)
    container = parse_state(document)
    runtime = Runtime(
        flags.cni_path(env).split(":"),
        cache_dir=flags.cache_dir,
        conf_dir=flags.conf_dir,
        env=flags.plugin_env(env),
    )
    with runtime.lock_container(container.id):
        if container.is_alive:
            attach(runtime, container, parse_settings(flags, container.annotations), flags.sticky_dir)
        else:
            try:
                settings = parse_settings(flags, container.annotations)
            except CniError:
                settings = None  # with these the container was never attached
            detach(runtime, container.id, parse_networks(flags, container.annotations), settings)


def _calc_sentence(msg: str, details: str) -> str:
    """Return one line, whatever a plugin has put into its error."""
    text = f"{msg} ({details})" if details else msg
    return f"shibafu-hook: {calc_line(text)}\n"


def _where(error: Exception) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace is not None else ""


def main(env: "Mapping[str, str] | None" = None) -> None:
    """Run as a process.

    Args:
        env: the process's environment, if that is not the interpreter's.
    """
    os.environ.update(env or {})
    os.umask(UMASK)
    sys.exit(run(sys.argv[1:], os.environ, sys.stdin.buffer, sys.stderr))


if __name__ == "__main__":
    main()
