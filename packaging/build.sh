#!/bin/bash
# Builds dist/shibafu: the executables, the `_internal` folder that they share, and `completions` for shells.
#
#   packaging/build.sh [DIRECTORY]     build DIRECTORY/shibafu instead of dist/shibafu
#
# As root it installs missing Debian packages, including python3; any python3 >= 3.11 with a shared
# libpython will do. Does nothing if nothing has changed. Two builds of the same
# sources with the same interpreter give the same bytes, except for the path of its folder in each executable;
# SOURCE_DATE_EPOCH sets the files' times.
set -euo pipefail
umask 022

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
mkdir -p "${1:-$root/dist}"
dist=$(cd "${1:-$root/dist}" && pwd)
venv=$root/.venv-build
work=$root/build/pyinstaller
requirements=$root/packaging/requirements-build.txt
# What the executables are made of.
sources=(
    plugins ipam
    packaging/{build.sh,freeze,requirements-build.txt}
    packaging/install/versions.sh
)
# shellcheck source=packaging/apt.sh
source "$root/packaging/apt.sh"
# shellcheck source=packaging/install/versions.sh
source "$root/packaging/install/versions.sh"

fail() {
    echo "build.sh: $*" >&2
    exit 1
}

# Debian's own interpreter comes first: built with profile-guided optimisation, it starts faster than most.
find_python() {
    local candidate
    for candidate in /usr/bin/python3 python3; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    return 1
}

ensure_python() {
    python=$(find_python) && return
    ensure_packages python3
    python=$(find_python) || fail "no python3 of version 3.11 or newer in PATH: install one"
}

# venv and ensurepip for the virtual environment, objdump for PyInstaller, musl for the launcher, libpython to be shipped.
missing_packages() {
    "$python" -c 'import ensurepip, venv' 2>/dev/null || echo python3-venv
    command -v objdump >/dev/null || echo binutils
    # Where it cannot be installed, plugins start cold.
    [[ $EUID -ne 0 ]] || ! command -v apt-get >/dev/null || command -v musl-gcc >/dev/null || echo musl-tools
    local library="libpython$version.so"
    [[ $python != /usr/bin/python3 || -n $(compgen -G "/usr/lib/*/$library.*") ]] || echo "libpython$version"
}

# The virtual environment is good as long as interpreter and requirements are those that it was made with.
ensure_venv() {
    local state
    state=$("$python" -VV; sha256sum <"$requirements")
    [[ $(cat "$venv/.state" 2>/dev/null) == "$state" ]] && return
    rm -rf "$venv"
    { "$python" -m venv "$venv" &&
        "$venv/bin/pip" install --quiet --disable-pip-version-check --require-hashes -r "$requirements"; } \
        >"$log" 2>&1 || fail "cannot make $venv: $(tail -n 5 "$log")"
    echo "$state" >"$venv/.state"
}

describe_inputs() {
    echo "$SOURCE_DATE_EPOCH $dist"
    "$python" -VV
    command -v musl-gcc || true
    (cd "$root" && find "${sources[@]}" -type f -not -name '*.pyc' -print0 | sort -z | xargs -0 sha256sum)
}

# What completes the command in shells, under the names that these look for.
write_completions() {
    local program=$1/shibafu directory=$1/completions
    mkdir "$directory"
    env -i "$program" completion bash >"$directory/shibafu"
    env -i "$program" completion zsh >"$directory/_shibafu"
    env -i "$program" completion fish >"$directory/shibafu.fish"
}

# The launcher, which packaging/install/versions.sh makes executables of, and the build's id, by which launchers and the engine
# know each other. Without musl's compiler the plugins are scripts, and start cold.
write_launcher_template() {
    if command -v musl-gcc >/dev/null; then
        musl-gcc -static -Os -s -Wall -Wextra -Wl,--build-id=none -o "$1/launcher" "$root/packaging/freeze/launcher.c" \
            >"$log" 2>&1 || fail "cannot compile the launcher: $(tail -n 5 "$log")"
        chmod 644 "$1/launcher"
    fi
    local id # written when all files have been listed: this one is not one of them
    id=$(cd "$1" && find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum | cut -c1-16)
    echo "$id" >"$1/build-id"
}

build() {
    rm -rf "$work"
    env -u PYTHONPATH -u PYTHONHOME -u PYTHONOPTIMIZE PYTHONHASHSEED=0 \
        PYINSTALLER_CONFIG_DIR="$work/config" "$venv/bin/python" -P -s -X no_debug_ranges -m PyInstaller --log-level WARN --noconfirm --clean \
        --workpath "$work" --distpath "$work/dist" "$root/packaging/freeze/shibafu.spec" >"$log" 2>&1 ||
        fail "PyInstaller failed: $(tail -n 20 "$log")"
    write_launcher_template "$work/dist/shibafu/_internal"
    write_programs "$work/dist/shibafu" "$dist/shibafu"
    write_completions "$work/dist/shibafu"
    find "$work/dist/shibafu" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
    rm -rf "$dist/shibafu"
    mv "$work/dist/shibafu" "$dist/shibafu"
}

mkdir -p "$root/build"
exec 9>"$root/build/lock"
flock 9 # two builds at once wait for each other

fits_interpreter "$dist/shibafu" ||
    echo "build.sh: the path $dist/shibafu has a space or is too long: the plugins run only where install.sh puts them" >&2
log=$root/build/build.log
ensure_python
version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
if [[ -z ${SOURCE_DATE_EPOCH:-} ]]; then
    SOURCE_DATE_EPOCH=$(git -C "$root" log -1 --format=%ct -- "${sources[@]}" 2>/dev/null) || true
fi
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-0}

inputs=$(describe_inputs)
stamp=$dist/.shibafu-inputs
if [[ -d $dist/shibafu && $(cat "$stamp" 2>/dev/null) == "$inputs" ]]; then
    done="unchanged"
else
    rm -f "$stamp"
    mapfile -t packages < <(missing_packages)
    ensure_packages "${packages[@]}"
    ensure_venv
    build
    echo "$inputs" >"$stamp"
    done="built"
fi
programs=$(cd "$dist/shibafu" && find . -maxdepth 1 -type f -printf '%f ' | xargs -n1 | sort | xargs)
echo "$done $dist/shibafu: $programs, $(du -sh --apparent-size "$dist/shibafu" | cut -f1) in all"
