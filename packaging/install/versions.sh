# Versions of the program side by side, and the link `current` to the one in use: so a new version comes into
# use from one moment to the next, and a call that has begun goes on with the files that it began with.
#
#     PREFIX/current -> versions/0.1.0-9b1c62f04d7e
#     PREFIX/versions/...
#
# Sourced by build.sh, install.sh, deb.sh, and by the Debian package; POSIX shell.
# shellcheck shell=sh

# What is called for each container is a program that hands its call to the resident engine: `_internal/launcher`, with
# the place that it has been put to written into it. Where that was not built, and for what starts once, the executable
# is a script, whose first line has it run by the interpreter that it was built with: without site, PYTHON* variables
# and the caller's directory (-I, -S), and in UTF-8. Either depends on where the folder is. The interpreter opens a
# script by the path that it was called by, which may lead to another version by then: its other lines are the same in
# all versions.

# calc_first_line HOME: print the first line of the executables of the folder HOME.
calc_first_line() {
    echo "#!$1/_internal/python3 -ISXutf8"
}

# fits_interpreter HOME: succeed if executables can be there. Words of the line end at a space, and Linux has 255
# bytes for it (before 5.1, 127).
fits_interpreter() {
    case $1 in
        *[[:space:]]*) return 1 ;;
        /*) [ "$(calc_first_line "$1" | wc -c)" -le 255 ] ;;
        *) return 1 ;;
    esac
}

# has_programs DIRECTORY: succeed if it has the executables that build.sh builds.
has_programs() {
    [ -s "$1/_internal/build-id" ] && [ -s "$1/_internal/cold/shibafu-bridge" ]
}

# calc_socket HOME: print where the engine of the folder HOME listens, as plugins/shibafu/engine/location.py has it.
calc_socket() {
    echo "/run/shibafu-engine/$(printf %s "$1" | b2sum -l 64 | cut -c1-16).sock"
}

# forget_engine HOME: remove what the engine of the folder HOME, which has ended, has left.
forget_engine() {
    forget_socket=$(calc_socket "$1")
    [ ! -w "${forget_socket%/*}" ] || rm -f "${forget_socket%.sock}".*
}

# write_launcher DIRECTORY HOME NAME: print the executable NAME, which hands its calls over; see launcher.c.
write_launcher() {
    launcher=$1/_internal/launcher
    launcher_offset=$(LC_ALL=C grep -abo '@SHIBAFU-PLACE@' "$launcher" | cut -d: -f1)
    launcher_place=$(printf '%s\n' "$2" "$3" "$(cat "$1/_internal/build-id")" "$(calc_socket "$2")")
    head -c "$launcher_offset" "$launcher"
    { printf '%s\n' "$launcher_place" && head -c 512 /dev/zero; } | head -c 512
    tail -c "+$((launcher_offset + 513))" "$launcher"
}

# write_program DIRECTORY HOME NAME: print the executable NAME of the folder HOME.
write_program() {
    if [ -e "$1/_internal/launcher" ] && grep -qx "$3" "$1/_internal/served"; then
        write_launcher "$1" "$2" "$3"
    else
        calc_first_line "$2" && cat "$1/_internal/cold/$3"
    fi
}

# write_programs DIRECTORY HOME: make the executables in DIRECTORY those of the folder HOME, where they will be.
write_programs() {
    for write_cold in "$1"/_internal/cold/*; do
        write_name=${write_cold##*/}
        write_program "$1" "$2" "$write_name" >"$1/$write_name.new"
        chmod 755 "$1/$write_name.new"
        mv -f "$1/$write_name.new" "$1/$write_name"
    done
}

# calc_digest DIRECTORY: print 12 digits that tell its files' names, modes and contents from others', wherever it is.
calc_digest() {
    (
        cd "$1" || exit
        # The executables are made of what is in _internal, and of the place.
        find . -mindepth 1 -not -path './shibafu-*' -printf '%P %y %m %l\n' | LC_ALL=C sort
        find . -type f -not -path './shibafu-*' -print0 | LC_ALL=C sort -z | xargs -0 sha256sum
    ) | sha256sum | cut -c1-12
}

# is_whole DIRECTORY HOME DIGEST: succeed if it is complete and was built for the folder HOME.
is_whole() {
    [ "$(calc_digest "$1")" = "$3" ] || return 1
    for whole_cold in "$1"/_internal/cold/*; do
        whole_name=${whole_cold##*/}
        write_program "$1" "$2" "$whole_name" | cmp -s - "$1/$whole_name" || return 1
    done
}

# is_used DIRECTORY: succeed if a process runs from it.
is_used() {
    for used_exe in /proc/[0-9]*/exe; do
        case $(readlink "$used_exe") in
            "$1"/*) return 0 ;;
        esac
    done
    return 1
}

# add_version PREFIX DIRECTORY VERSION [HOME]: copy the program out of DIRECTORY and bring it into use.
#
# HOME is what PREFIX will be called when the program runs.
# The previous version is kept for calls that are just starting; older ones as long as processes run from them.
add_version() {
    add_prefix=$(realpath -m "$1")
    add_home=${4:-$1}
    add_digest=$(calc_digest "$2")
    add_name=$3-$add_digest
    add_before=$(readlink "$add_prefix/current" || true)
    add_before=${add_before#versions/}
    mkdir -p "$add_prefix/versions"
    # A damaged one is not repaired under those who run in it: another takes its place.
    while [ -e "$add_prefix/versions/$add_name" ] &&
        ! is_whole "$add_prefix/versions/$add_name" "$add_home/versions/$add_name" "$add_digest"; do
        add_name=$add_name+
    done
    if [ ! -e "$add_prefix/versions/$add_name" ]; then
        add_new=$(mktemp -d "$add_prefix/versions/.new-XXXXXX")
        cp -R --preserve=mode,timestamps,links "$2/." "$add_new/"
        write_programs "$add_new" "$add_home/versions/$add_name"
        # After a power cut, too, `current` leads to something whole.
        sync -f "$add_new"
        mv -T "$add_new" "$add_prefix/versions/$add_name"
    fi
    if [ "$add_name" != "$add_before" ]; then
        ln -s "versions/$add_name" "$add_prefix/.current-$$"
        mv -T "$add_prefix/.current-$$" "$add_prefix/current"
    fi
    for add_old in "$add_prefix/versions"/* "$add_prefix/versions"/.new-*; do
        case ${add_old##*/} in
            "$add_name" | "$add_before") ;;
            *)
                is_used "$add_old" || {
                    rm -rf "$add_old"
                    [ "$add_home" != "$1" ] || forget_engine "$add_home/versions/${add_old##*/}"
                }
                ;;
        esac
    done
}

# remove_versions PREFIX: remove all of them, when the calls that are running have ended, or after ten seconds. A call
# that began in the last milliseconds before its link was removed fails, as those do that follow.
remove_versions() {
    remove_prefix=$(realpath -m "$1")
    rm -f "$remove_prefix/current"
    remove_tries=0
    while [ "$remove_tries" -lt 100 ] && is_used "$remove_prefix/versions"; do
        remove_tries=$((remove_tries + 1))
        sleep 0.1
    done
    rm -rf "$remove_prefix/versions"
}
