#!/bin/bash
# Measures shibafu, by its engine and cold, against Debian's reference plugins and netavark, and prints tables.
#
#   bench/run.sh                      everything, 30 turns; about a quarter of an hour
#   bench/run.sh --quick              less than a minute, and less exact
#   bench/run.sh --case nat --case dual --pairs 100
#   bench/run.sh --json FILE          all samples, too
#   bench/run.sh --trace              where the time of one ADD and one DEL goes
#   bench/run.sh --check              the exit status is 1 when a ratio is above its target, or a call went past the engine
#   bench/run.sh --against DIR        beside another build of shibafu: before and after a change, both cold
#   bench/run.sh --against DIR --engine    both by their engines
#   bench/run.sh --update             writes the figures into README.md and docs/performance.md, if the machine is quiet;
#                                     with --trace, where the time goes
#   bench/run.sh --watch              what the watcher heals, how fast, and what it costs; about twelve minutes, ten of them idle
#   bench/run.sh --policies           what network policies cost to apply, for containers and for packets; about five minutes
#   bench/run.sh --overlay            what hosts of an overlay cost that come and go, and packets between them; about two minutes
#   bench/run.sh --failovers          how long containers are cut off when an uplink, router or gateway fails; about ten minutes
#   bench/run.sh --help               all options; also behind --watch, --policies, --overlay and --failovers
#
# As root. Installs the Debian packages that are missing, and builds dist/shibafu. Networks are made in namespaces
# of the measurements' own, which end with them; leases are in a temporary directory.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=packaging/apt.sh
source "$root/packaging/apt.sh"

if [[ $EUID -ne 0 ]]; then
    echo "run.sh: run this as root: it makes network namespaces" >&2
    exit 1
fi
ensure_packages containernetworking-plugins etcd-server iptables nftables iproute2 iputils-ping iperf3 keepalived netavark runc strace time util-linux >&2
"$root/packaging/build.sh" >&2

work=$(mktemp -d --tmpdir shibafu-bench-XXXXXX)
trap 'rm -rf "$work"' EXIT

# Records in /run go with the mount namespace. No process namespace: runtimes call plugins outside of one, and
# inside, shibafu does not recognise the kernel's announcements of its transactions. The interpreter is that of the build, which knows the format of the executables' modules.
export PYTHONPATH=$root:$root/plugins PYTHONDONTWRITEBYTECODE=1
module=bench python=$root/.venv-build/bin/python
case ${1-} in
    --watch | --policies | --overlay)
        module=bench.${1#--}
        shift
        ;;
    --failovers)
        # shellcheck source=tests/venv.sh
        source "$root/tests/venv.sh"
        (cd "$root" && ensure_venv) >&2
        module=bench.failovers python=$root/.venv/bin/python
        PYTHONPATH+=:$root/ipam:$root/tests
        shift
        ;;
esac
unshare --mount --net --fork --kill-child=TERM \
    sh -c 'mount -t tmpfs tmpfs /run && exec "$@"' sh \
    "$python" -m "$module" --root "$root" --work "$work" "$@" &
child=$!
trap 'kill -KILL "$child"' INT TERM
wait "$child"
