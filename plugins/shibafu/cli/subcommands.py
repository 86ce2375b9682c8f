"""All subcommands, in the order of `--help`: a new one is its own file and a name here."""

from shibafu.cli.container import exec as exec_
from shibafu.cli.container import logs, ps, restart, rm, run, start, stop
from shibafu.cli.engine import run as engine_run
from shibafu.cli.engine import start as engine_start
from shibafu.cli.engine import status as engine_status
from shibafu.cli.engine import stop as engine_stop
from shibafu.cli.image import import_
from shibafu.cli.image import ls as image_ls
from shibafu.cli.image import rm as image_rm
from shibafu.cli.ipam import ls as ipam_ls
from shibafu.cli.ipam import release, reserve
from shibafu.cli.link import addr, create_bridge, create_veth, move
from shibafu.cli.link import rm as link_rm
from shibafu.cli.network import (
    apply,
    check,
    connect,
    create,
    disconnect,
    down,
    export,
    gc,
    inspect,
    limit,
    ls,
    pause,
    repair,
    resume,
)
from shibafu.cli.network import rm as network_rm
from shibafu.cli.overlay import doctor as overlay_doctor
from shibafu.cli.overlay import init as overlay_init
from shibafu.cli.overlay import ls as overlay_ls
from shibafu.cli.overlay import rm as overlay_rm
from shibafu.cli.overlay import run as overlay_run
from shibafu.cli.overlay import status as overlay_status
from shibafu.cli.policy import apply as policy_apply
from shibafu.cli.policy import explain, label, matrix, test
from shibafu.cli.policy import inspect as policy_inspect
from shibafu.cli.policy import ls as policy_ls
from shibafu.cli.policy import rm as policy_rm
from shibafu.cli.watch import run as watch_run
from shibafu.cli.watch import status as watch_status

# Those for containers are words of their own, as people know them.
TOP_LEVEL = tuple(module.SUBCOMMAND for module in (run, exec_, ps, logs, stop, start, restart, rm))
# Each group's word, what it is for, and its subcommands.
GROUPS = tuple(
    (word, summary, tuple(module.SUBCOMMAND for module in modules))
    for word, summary, modules in (
        ("image", "images: import, list, remove", (import_, image_ls, image_rm)),
        (
            "network",
            "networks: list, make, inspect, repair",
            (
                ls,
                inspect,
                create,
                network_rm,
                connect,
                disconnect,
                limit,
                check,
                gc,
                repair,
                pause,
                resume,
                down,
                apply,
                export,
            ),
        ),
        (
            "overlay",
            "overlay networks: containers of several hosts in one network",
            (overlay_init, overlay_run, overlay_status, overlay_ls, overlay_rm, overlay_doctor),
        ),
        (
            "policy",
            "network policies: who may connect to whom",
            (policy_apply, policy_ls, policy_inspect, policy_rm, explain, matrix, test, label),
        ),
        ("ipam", "addresses: list, release, reserve", (ipam_ls, release, reserve)),
        (
            "link",
            "links: bridges, veth pairs, addresses",
            (create_bridge, create_veth, move, addr, link_rm),
        ),
        (
            "engine",
            "the resident engine, which makes calls faster",
            (engine_run, engine_start, engine_stop, engine_status),
        ),
        ("watch", "the watcher, which heals networks as soon as they are damaged", (watch_run, watch_status)),
    )
)
