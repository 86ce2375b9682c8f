#!/bin/bash
# Pin what the build and the tests install, in packaging/requirements-build.txt and tests/requirements.txt: all that
# setup.cfg names, and what that needs, with the hashes of the files for every interpreter and machine.
#
#   packaging/pin.sh             the versions stay, where setup.cfg does not say otherwise
#   packaging/pin.sh --upgrade   the newest versions
#
# With other versions, the executables are others, too: run tests/run.sh. freeze/command_entry.py and freeze/shibafu.spec know the
# bootloader of PyInstaller's version; tests/dist tells when another one differs.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

venv=$(mktemp -d)
trap 'rm -rf "$venv"' EXIT
python3 -m venv "$venv"
"$venv/bin/pip" install --quiet --disable-pip-version-check pip-tools

# pin FILE OPTION...
pin() {
    # The comment at the beginning of the file says what it is made by.
    CUSTOM_COMPILE_COMMAND=packaging/pin.sh "$venv/bin/pip-compile" --quiet --generate-hashes --no-reuse-hashes --allow-unsafe \
        --strip-extras --no-emit-index-url --no-emit-find-links --output-file "$@" setup.cfg
}

pin packaging/requirements-build.txt --extra build --extra command "$@"
pin tests/requirements.txt --extra test "$@"
