#!/bin/bash
# Set up all that the tests need, and run them.
#
#   tests/run.sh                      everything: ruff, mypy, shellcheck, all tests, some of them twice
#   tests/run.sh unit wire            the tests of these directories, or files
#   tests/run.sh netns -x -k masq     with options of pytest
#
# As root it installs the Debian packages that are missing, without starting their services. Without root
# it runs what needs no namespaces. The exit status is that of the worst.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# shellcheck source=packaging/apt.sh
source packaging/apt.sh

packages=(
    # called by the plugins, and the laboratory around them
    iptables nftables iproute2 ipset conntrack iputils-ping procps util-linux strace tcpdump iperf3
    # what shibafu is compared with, and who calls it
    containernetworking-plugins containerd runc podman busybox-static golang-go golang-github-appc-cni-dev
    # the seccomp profile
    golang-github-containers-common
    # images
    skopeo umoci
    # shells that the command is completed in
    fish zsh
    # builds and checks
    python3-venv binutils mandoc shellcheck
)
# What needs no root, when nothing is asked for.
unprivileged=(tests/unit tests/property tests/wire)

# The tests' virtual environment, of the interpreter that the executables are built from.
ensure_venv() {
    local python=.venv-build/bin/python stamp=.venv/.requirements
    if [[ $(.venv/bin/python -VV 2>/dev/null) != "$($python -VV)" ]]; then
        rm -rf .venv
        "$python" -m venv .venv
    fi
    if ! cmp -s tests/requirements.txt "$stamp"; then
        echo "installing tests/requirements.txt into .venv"
        .venv/bin/pip install -qq --disable-pip-version-check --root-user-action ignore -r tests/requirements.txt
        cp tests/requirements.txt "$stamp"
    fi
}

check() {
    echo "checking: $*"
    "$@" || status=1
}

# Directories and files come first, then options.
paths=()
while [[ $# -gt 0 && -e tests/${1%%::*} ]]; do
    paths+=("tests/$1")
    shift
done
is_everything=
if [[ ${#paths[@]} -eq 0 ]]; then is_everything=yes; fi

if [[ $EUID -eq 0 ]]; then
    ensure_packages "${packages[@]}"
elif [[ $is_everything ]]; then
    echo "not root: only ${unprivileged[*]} are run, and nothing is installed"
    paths=("${unprivileged[@]}")
fi
packaging/build.sh
ensure_venv

status=0
if [[ $is_everything ]]; then
    mapfile -t scripts < <(find packaging tests .ci -type f \( -name '*.sh' -o -path .ci/run \) | sort)
    check .venv/bin/ruff check --quiet
    check .venv/bin/mypy --no-error-summary
    check .venv/bin/mypy --no-error-summary packaging/demo
    if command -v shellcheck >/dev/null; then check shellcheck -x "${scripts[@]}"; fi
fi
.venv/bin/pytest "${paths[@]}" "$@" || status=$((status > $? ? status : $?))
if [[ $is_everything && $EUID -eq 0 && $# -eq 0 ]]; then
    echo "once more, with the executables in place of the sources"
    .venv/bin/pytest --suite dist/shibafu tests/spec tests/netns/test_bridge_{attach,check,delete,gc,takeover}.py ||
        status=$((status > $? ? status : $?))
fi
exit "$status"
