"""`shibafu overlay run`."""

from argparse import ArgumentParser, Namespace

from shibafu.cli.overlay.agent_options import add_config, load_overlays
from shibafu.cli.subcommand import Context, Subcommand
from shibafu.networks.errors import CommandError

# Python's usual thresholds of garbage collection.
_GARBAGE = (700, 10, 10)


def _add_arguments(parser: ArgumentParser) -> None:
    add_config(parser)
    parser.add_argument("--metrics", metavar="FILE", default="", help="write metrics for Prometheus")


def _run(context: Context, arguments: Namespace) -> int:
    import gc

    from shibafu.cni.sole_process import ALREADY_AT_WORK
    from shibafu.overlay.agent import Agent
    from shibafu.overlay.agent_state import AgentRunningError

    def log(line: str) -> None:
        context.out.text(line)
        context.out.stream.flush()

    agent = Agent(load_overlays(arguments.config), log, arguments.metrics)
    # The command looks for garbage late, as it ends soon. What has been imported stays.
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GARBAGE)
    try:
        agent.run()
    except AgentRunningError as error:
        raise CommandError(error.message, error.hint, ALREADY_AT_WORK) from None
    context.out.data(agent.describe(is_running=False))
    return 0


SUBCOMMAND = Subcommand(
    "run",
    "join this host's networks, and keep what the kernel needs to reach the other hosts",
    "Run the agent in the foreground, until SIGTERM or Ctrl-C. It gets a subnet for this host from etcd,\n"
    "keeps it, and keeps devices, routes and neighbours for all hosts as etcd says, also after somebody has\n"
    "removed them. When it ends, everything stays as it is: containers go on talking to each other.",
    (
        "shibafu overlay run",
        "shibafu overlay run --metrics /var/lib/prometheus/node-exporter/shibafu-overlay.prom",
        "shibafu overlay run --config /etc/shibafu/overlay-test.yaml",
    ),
    _run,
    _add_arguments,
)
