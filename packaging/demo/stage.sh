# shellcheck shell=bash
# What the demos have in common: how they show their steps, and the machine of its own that they are on.
#
# Sourced by steps.sh and overlay.sh, which have set `stage`.
# shellcheck disable=SC2154  # it is not assigned here

# --- Showing ---

colour=
if [[ -t 1 && -z ${NO_COLOR:-} ]]; then colour=1; fi
paint() { printf '%s' "${colour:+$'\e['$1m}$2${colour:+$'\e[0m'}"; }

headline() { printf '\n%s%s\n\n' "$(paint 1 "$1")" "$(paint 2 "${2:+ · $2}")"; }

# A step that went well: what was done, what was seen, how many milliseconds it took.
row() {
    printf '  %s %s%*s%s' "$(paint 32 ✓)" "$1" $((25 - ${#1})) '' "$2"
    if [[ -n ${3:-} ]]; then printf '%*s ms' $((58 - ${#2})) "$3"; fi
    printf '\n'
}

fail() {
    printf '  %s %s\n' "$(paint 31 ✗)" "$*" >&2
    exit 1
}

# --- Doing ---

# Mount a machine of its own on the stage: its files and the plugins, and nothing in /run and /var/lib.
enter_stage() { # repository, plugins
    start=${EPOCHREALTIME/[.,]/}
    mount -t tmpfs stage "$stage"
    mkdir "$stage"/{repository,plugins,results}
    mount --bind "$1" "$stage/repository"
    mount --bind "$2" "$stage/plugins"
    mount -t tmpfs run /run
    mount -t tmpfs lib /var/lib
    cd "$stage/repository/packaging" || fail "the repository has no folder packaging"
}

# One echo request out of a container. Prints milliseconds.
ping_from() {
    local answer
    answer=$(ip netns exec "$1" ping -n -c 1 -W 3 "$2" 2>&1) || fail "$1 has no answer from $2: $answer"
    answer=${answer#*time=}
    echo "${answer%% ms*}"
}

# The last line.
show_success() {
    local elapsed=$((${EPOCHREALTIME/[.,]/} - start))
    printf '\n%s\n' "$(paint '1;32' "All of it worked, in $((elapsed / 1000000)).$((elapsed / 100000 % 10)) seconds.")"
}
