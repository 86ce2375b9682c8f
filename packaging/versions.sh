# Versions of the program side by side, and the link `current` to the one in use: so a new version comes into
# use from one moment to the next, and a call that has begun goes on with the files that it began with.
#
#     PREFIX/current -> versions/0.1.0-9b1c62f04d7e
#     PREFIX/versions/...
#
# Sourced by build.sh, install.sh, deb.sh, and by the Debian package; POSIX shell.
# shellcheck shell=sh

# The first line of an executable has it run by the interpreter that it was built with: without site, PYTHON*
# variables and the caller's directory (-I, -S), and in UTF-8. Linux has a line of 255 bytes at most, and words
# end at a space.

# fits_interpreter HOME: tell whether executables can be in HOME.
fits_interpreter() {
    case $1 in
        *[[:space:]]*) return 1 ;;
    esac
    [ "$(printf '#!%s/_internal/python3 -ISXutf8\n' "$1" | wc -c)" -le 255 ]
}

# set_interpreter DIRECTORY HOME: make the executables in DIRECTORY those of the folder HOME, where they will be.
set_interpreter() {
    for set_program in "$1"/shibafu-*; do
        set_rest=$(grep -v '^#!' "$set_program")
        # In place, so that the mode stays.
        printf '#!%s/_internal/python3 -ISXutf8\n%s\n' "$2" "$set_rest" >"$set_program"
    done
}

# calc_digest DIRECTORY: print 12 digits that tell its files' names, modes and contents from others', wherever it is.
calc_digest() {
    (
        cd "$1" || exit
        find . -mindepth 1 -printf '%P %y %m %l\n' | LC_ALL=C sort
        find . -type f -not -path './shibafu-*' -print0 | LC_ALL=C sort -z | xargs -0 sha256sum
        grep -v '^#!' shibafu-*
    ) | sha256sum | cut -c1-12
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

# add_version PREFIX DIRECTORY VERSION [ROOT]: copy the program out of DIRECTORY and bring it into use.
#
# PREFIX is below ROOT, which is not there any more when the program runs.
# The version before is kept for whoever is just starting; older ones as long as processes run from them.
add_version() {
    add_prefix=$(realpath -m "$1")
    add_root=${4:+$(realpath -m "$4")}
    add_digest=$(calc_digest "$2")
    add_name=$3-$add_digest
    add_before=$(readlink "$add_prefix/current" || true)
    add_before=${add_before#versions/}
    mkdir -p "$add_prefix/versions"
    # A damaged one is not repaired under those who run in it: another takes its place.
    while [ -e "$add_prefix/versions/$add_name" ] &&
        [ "$(calc_digest "$add_prefix/versions/$add_name")" != "$add_digest" ]; do
        add_name=$add_name+
    done
    if [ ! -e "$add_prefix/versions/$add_name" ]; then
        add_new=$(mktemp -d "$add_prefix/versions/.new-XXXXXX")
        cp -R --preserve=mode,timestamps,links "$2/." "$add_new/"
        set_interpreter "$add_new" "${add_prefix#"$add_root"}/versions/$add_name"
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

# remove_versions PREFIX: remove all of them, when the calls that are running have ended, or after ten seconds.
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
