# Versions of the program side by side, and the link `current` to the one in use: so a new version comes into
# use from one moment to the next, and a call that has begun goes on with the files that it began with.
#
#     PREFIX/current -> versions/0.1.0-9b1c62f04d7e
#     PREFIX/versions/...
#
# Sourced by build.sh, install.sh, deb.sh, and by the Debian package; POSIX shell.
# shellcheck shell=sh

# An executable is a file of a few lines. The first has it run by the interpreter that it was built with: without site,
# PYTHON* variables and the caller's directory (-I, -S), and in UTF-8. So it depends on where the folder is. The interpreter
# opens the executable by the path that it was called by, which may lead to another version by then: the other
# lines are the same in all versions.

# calc_first_line HOME: print the first line of the executables of the folder HOME.
calc_first_line() {
    echo "#!$1/_internal/python3 -ISXutf8"
}

# fits_interpreter HOME: tell whether executables can be there. Words of the line end at a space, and Linux has 255
# bytes for it (before 5.1, 127).
fits_interpreter() {
    case $1 in
        *[[:space:]]*) return 1 ;;
        /*) [ "$(calc_first_line "$1" | wc -c)" -le 255 ] ;;
        *) return 1 ;;
    esac
}

# has_programs DIRECTORY: tell whether build.sh has made its executables.
has_programs() {
    for has_program in "$1"/shibafu-bridge "$1"/shibafu-*; do
        [ "$(head -c 2 "$has_program" 2>/dev/null | tr -d '\0')" = '#!' ] || return 1
    done
}

# set_interpreter DIRECTORY HOME: make the executables in DIRECTORY those of the folder HOME, where they will be.
set_interpreter() {
    for set_program in "$1"/shibafu-*; do
        { calc_first_line "$2" && sed '1{/^#!/d}' "$set_program"; } >"$set_program.new"
        chmod --reference="$set_program" "$set_program.new"
        mv -f "$set_program.new" "$set_program"
    done
}

# calc_digest DIRECTORY: print 12 digits that tell its files' names, modes and contents from others', wherever it is.
calc_digest() {
    (
        cd "$1" || exit
        find . -mindepth 1 -printf '%P %y %m %l\n' | LC_ALL=C sort
        find . -type f -not -path './shibafu-*' -print0 | LC_ALL=C sort -z | xargs -0 sha256sum
        for calc_program in shibafu-*; do
            LC_ALL=C sed '1{/^#!/d}' "$calc_program" | sha256sum
        done
    ) | sha256sum | cut -c1-12
}

# is_whole DIRECTORY HOME DIGEST: tell whether it is what it was made to be, for the folder HOME.
is_whole() {
    [ "$(calc_digest "$1")" = "$3" ] || return 1
    for whole_program in "$1"/shibafu-*; do
        [ "$(head -n 1 "$whole_program" | tr -d '\0')" = "$(calc_first_line "$2")" ] || return 1
    done
}

# is_used DIRECTORY: tell whether a process runs from it.
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
# The version before is kept for whoever is just starting; older ones as long as processes run from them.
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
        set_interpreter "$add_new" "$add_home/versions/$add_name"
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
            *) is_used "$add_old" || rm -rf "$add_old" ;;
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
