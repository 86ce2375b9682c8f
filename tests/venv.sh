# Sourced by scripts that run Python with what the tests need.
# shellcheck shell=bash

# The tests' virtual environment, of the interpreter that the executables are built from.
ensure_venv() {
    local python=.venv-build/bin/python stamp=.venv/.requirements
    if [[ $(.venv/bin/python -VV 2>/dev/null) != "$($python -VV)" ]]; then
        rm -rf .venv
        "$python" -m venv .venv
    fi
    if ! cmp -s tests/requirements.txt "$stamp"; then
        echo "installing tests/requirements.txt into .venv"
        .venv/bin/pip install -qq --disable-pip-version-check --root-user-action ignore \
            --require-hashes -r tests/requirements.txt
        cp tests/requirements.txt "$stamp"
    fi
}
