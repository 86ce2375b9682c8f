#!/bin/bash
# Set up all that the tests need, and run them.
#
#   tests/run.sh                      everything: ruff, mypy, codespell, shellcheck, all tests, some of them three times
#   tests/run.sh --fast               what needs no root and less than a minute: the checks, and the tests of modules
#   tests/run.sh --long               everything, and what takes longer: the executables on Debian 13, the reference's own tests,
#                                     all tests that make calls once more, through the engine
#   tests/run.sh unit wire            the tests of these directories, or files, one after the other
#   tests/run.sh netns -x -k masq     with options of pytest; -n 3 runs three tests at a time
#
# As root it installs the Debian packages that are missing, without starting their services. Without root
# it runs what --fast runs. The exit status is that of the worst.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# shellcheck source=packaging/apt.sh
source packaging/apt.sh
# shellcheck source=tests/venv.sh
source tests/venv.sh

packages=(
    # called by the plugins, and the laboratory around them
    iptables nftables iproute2 ipset conntrack iputils-ping procps util-linux strace tcpdump iperf3
    # what shibafu is compared with, and who calls it
    containernetworking-plugins firewalld containerd curl runc podman catatonit busybox-static golang-go golang-github-appc-cni-dev golang-golang-x-sys-dev
    # the seccomp profile
    golang-github-containers-common
    # the overlay's store
    etcd-server etcd-client
    # gateways that hosts share
    keepalived
    # images
    skopeo umoci xz-utils
    # shells that the command is completed in
    fish zsh
    # builds and checks
    python3-venv binutils mandoc shellcheck
)
# What needs no root.
unprivileged=(tests/unit tests/property tests/wire)
# What is run with the executables, too: by themselves, and through their engine.
shipped=(tests/spec tests/netns/test_chain.py tests/netns/test_bridge_{attach,check,delete,gc,takeover}.py)
# Tests at a time: many wait for the kernel, so that three more than there are processors keep all of these busy.
workers=$(($(nproc) + 3))
# Else each of the workers, and each process that is started from sources, compiles these again.
unset PYTHONDONTWRITEBYTECODE

# What there are tests of, of the plugins that take the places of the reference's.
find_shipped() {
    local list='from shibafu.engine.programs import REPLACED; print(*REPLACED.values(), sep="\n")'
    local name path
    for name in $(cd plugins && ../.venv/bin/python -c "$list"); do
        for path in "tests/netns/$name" "tests/netns/test_$name.py" "tests/netns/test_${name}_reference.py"; do
            if [[ -e $path ]]; then echo "$path"; fi
        done
    done
}

status=0 times=()
# stage WHAT COMMAND...: run a part that may fail; remember the worst status, and how long it took.
stage() {
    local what=$1 begin=$SECONDS result=0
    shift
    echo "--- $what"
    "$@" || result=$?
    times+=("$(printf '%5d s  %s' $((SECONDS - begin)) "$what")")
    if [[ $result -ne 0 ]]; then times[-1]+=": FAILED"; fi
    status=$((status > result ? status : result))
}

# shellcheck disable=SC2317  # `stage` calls it
check() {
    local scripts collection worst=0
    # Beside the others: each of the workers would have to rewrite the assertions of tests that are new.
    .venv/bin/pytest --collect-only -q >/dev/null &
    collection=$!
    mapfile -t scripts < <(grep -rlE --exclude-dir=__pycache__ '^#!/bin/(ba)?sh|^# shellcheck shell=' packaging bench tests .ci | sort)
    .venv/bin/ruff check --quiet || worst=1
    .venv/bin/ruff format --check --quiet || worst=1
    .venv/bin/mypy --no-error-summary || worst=1
    .venv/bin/codespell || worst=1
    if command -v shellcheck >/dev/null; then shellcheck -x "${scripts[@]}" || worst=1; fi
    if ! wait "$collection"; then
        echo "the tests cannot be collected"
        worst=1
    fi
    return "$worst"
}

# shellcheck disable=SC2317  # likewise
run_pytest() {
    .venv/bin/pytest -n "$workers" -q "$@"
}

is_fast='' long=()
case ${1:-} in
    --fast)
        is_fast=yes
        shift
        ;;
    --long)
        long=(--long)
        packages+=(debootstrap docker.io)
        # the reference's own tests, whose source is fetched by the test that runs them
        packages+=(dpkg-dev golang-github-containernetworking-plugins-dev golang-dbus-dev golang-github-onsi-ginkgo-dev golang-gomega-dev golang-github-mattn-go-shellwords-dev)
        shift
        ;;
    -h | --help)
        sed -n '2,/^set/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
        exit
        ;;
esac
# Directories and files come first, then options.
paths=()
while [[ $# -gt 0 && -e tests/${1%%::*} ]]; do
    paths+=("tests/$1")
    shift
done
if [[ $EUID -eq 0 && ! $is_fast ]]; then
    had_docker=$(command -v dockerd || true) had_firewalld=$(command -v firewalld || true)
    had_etcd=$(command -v etcd || true) had_keepalived=$(command -v keepalived || true)
    ensure_packages "${packages[@]}"
    # Its rules would be this machine's from the next boot on; the tests start a daemon of their own.
    if [[ ! $had_docker && -d /run/systemd/system ]] && command -v dockerd >/dev/null; then
        systemctl --quiet disable docker.service docker.socket
    fi
    if [[ ! $had_firewalld && -d /run/systemd/system ]]; then systemctl --quiet disable firewalld.service; fi
    if [[ ! $had_etcd && -d /run/systemd/system ]]; then systemctl --quiet disable etcd.service; fi
    if [[ ! $had_keepalived && -d /run/systemd/system ]]; then systemctl --quiet disable keepalived.service; fi
elif [[ ${#paths[@]} -eq 0 ]]; then
    [[ $is_fast ]] || echo "not root: only ${unprivileged[*]} are run, and nothing is installed"
    is_fast=yes
fi
packaging/build.sh
ensure_venv
if [[ ${#paths[@]} -gt 0 ]]; then exec .venv/bin/pytest "${long[@]}" "${paths[@]}" "$@"; fi

times+=("$(printf '%5d s  preparations' "$SECONDS")")
stage "checks" check
if [[ $is_fast ]]; then
    stage "tests that need no root" run_pytest "${unprivileged[@]}" "$@"
else
    stage "all tests" run_pytest "${long[@]}" "$@"
    if [[ $# -eq 0 ]]; then
        mapfile -t chained < <(find_shipped)
        # The engine's calls are of the same bundle: by themselves, chained plugins are called in chains.
        stage "tests of the executables" run_pytest --suite dist/shibafu "${shipped[@]}" ${long[0]:+"${chained[@]}"}
        # Without --long, the rest is left out: its calls run the same code in the same processes.
        served=("${shipped[@]}" "${chained[@]}" tests/netns/test_{overlay_conflists,bridge_verification}.py)
        if [[ ${long[0]:-} ]]; then served=(tests/spec tests/netns tests/dist); fi
        stage "tests of the engine" run_pytest --suite dist/shibafu --engine "${served[@]}"
    fi
fi
printf '%s\n' "---" "${times[@]}" "$(printf '%5d s  in all' "$SECONDS")"
exit "$status"
