# The resident engine, while versions of the program come and go (see versions.sh): its service, where systemd runs,
# and engines that `shibafu engine start` has started. And the services of the watcher and of the overlay's agent, where
# somebody wants them.
#
# Sourced by install.sh, uninstall.sh, and by the Debian package, behind versions.sh; POSIX shell.
# shellcheck shell=sh

service=shibafu-engine.service
watch_service=shibafu-watch.service
overlay_service=shibafu-overlay.service

# has_systemd: succeed if systemd runs on this machine, as sd_booted(3) does.
has_systemd() {
    [ -d /run/systemd/system ]
}

# write_unit FILE PREFIX: print the unit for the program in PREFIX.
write_unit() {
    # Escape what systemd expands, and then what sed does.
    unit_prefix=$(printf '%s' "$2" | sed 's/[%$]/&&/g; s/[\\&|]/\\&/g')
    sed "s|@PREFIX@|$unit_prefix|" "$1"
}

# install_unit FILE UNIT PREFIX: make UNIT out of FILE, for the program in PREFIX.
install_unit() {
    mkdir -p "${2%/*}"
    write_unit "$1" "$3" >"$2.new-$$"
    chmod 644 "$2.new-$$"
    mv -T "$2.new-$$" "$2"
}

# is_unit_of UNIT PREFIX: succeed if UNIT exists and starts the program in PREFIX.
is_unit_of() {
    case $1 in
        */"$watch_service") unit_words='watch run' ;;
        */"$overlay_service") unit_words='overlay run' ;;
        *) unit_words='engine run' ;;
    esac
    unit_line=$(echo "ExecStart=@PREFIX@/current/shibafu $unit_words" | write_unit - "$2")
    [ -e "$1" ] && grep -qxF "$unit_line" "$1"
}

# is_unit_of_another UNIT PREFIX: succeed if UNIT starts the program of another installation, which is there.
is_unit_of_another() {
    [ -e "$1" ] && ! is_unit_of "$1" "$2" &&
        [ -x "$(sed -n 's/^ExecStart=\(.*\) [a-z]* run$/\1/p' "$1" | sed 's/%%/%/g; s/\$\$/$/g')" ]
}

# start_service PREFIX IS_FIRST: have the service run that has been installed; a later one replaces the engine if that is
# running, so that nothing is started that the administrator has stopped or disabled.
start_service() {
    systemctl daemon-reload || return
    if [ -n "$2" ]; then
        # One that was started by hand gives way.
        "$1/current/shibafu" engine stop >/dev/null 2>&1 || true
        systemctl enable --now "$service"
    else
        systemctl try-restart "$service"
    fi
}

# start_optional SERVICE IS_FIRST: have one run that not everybody wants, as it was installed last; see start_service.
start_optional() {
    systemctl daemon-reload || return
    if [ -n "$2" ]; then
        systemctl enable --now "$1"
    else
        systemctl try-restart "$1"
    fi
}

# remove_service UNIT [DESTDIR]: stop a service, and remove its unit.
remove_service() {
    if [ -n "${2:-}" ] || ! has_systemd; then
        rm "${2:-}$1"
    else
        systemctl disable --now "${1##*/}" || true
        rm "$1"
        systemctl daemon-reload
    fi
}

# is_running HOME: succeed if the engine of the folder HOME is running.
is_running() {
    running_socket=$(calc_socket "$1")
    [ -e "${running_socket%.sock}.lock" ] && "$1/shibafu" engine status >/dev/null 2>&1
}

# replace_engines PREFIX: where the engine of a version that is no longer in use is running, run that of the version in
# use in its place. The new one is started first, so that no call has to do without one.
replace_engines() {
    for replace_home in "$1"/versions/*; do
        if [ "$replace_home" != "$1/$(readlink "$1/current")" ] && is_running "$replace_home"; then
            "$1/current/shibafu" engine start || true
            "$replace_home/shibafu" engine stop || true
        fi
    done
}

# stop_engines PREFIX: end the engines of all versions when their calls have ended, and remove what they leave in /run.
stop_engines() {
    for stop_home in "$1"/versions/*; do
        if is_running "$stop_home"; then
            "$stop_home/shibafu" engine stop || true
        fi
        forget_engine "$stop_home"
    done
    rmdir /run/shibafu-engine 2>/dev/null || true
}
