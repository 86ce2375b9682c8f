#!/bin/bash
# The steps of the demo, on the machine of its own that demo.sh makes.
#
#   steps.sh REPOSITORY PLUGINS STAGE [all]
#
# With `all`, also those of chain.sh.
set -euo pipefail
export LC_ALL=C.UTF-8 # the length of a string is counted in characters

readonly root=$1 stage=$3 all=${4:-} containers=(red green blue) port=7777
# Addresses that are reserved for documentation, RFC 5737 and RFC 3849.
readonly host4=203.0.113.2 outside4=203.0.113.1 host6=2001:db8:113::2 outside6=2001:db8:113::1

# shellcheck source=packaging/demo/stage.sh
source "$root/packaging/demo/stage.sh"

# --- Doing; each prints what was seen, or ends the demo ---

# A call of a network's plugins. Prints milliseconds and addresses.
call() { # verb, container, the network's file, what is asked of capabilities
    python3 demo/call.py "$1" "$2" "$3" "$stage/plugins" "$stage/results" "${@:4}" 2>"$stage/stderr" ||
        fail "$(<"$stage/stderr")"
}

# Start the engine of the plugins, if they have one. Prints what that means.
start_engine() {
    if [[ ! -x $command ]]; then
        echo "none belongs to these plugins: each call starts Python"
        return
    fi
    "$command" engine start >/dev/null 2>"$stage/stderr" || fail "$(<"$stage/stderr")"
    echo "runs: no call has to start Python"
}

# Stop it. Prints how many calls it ran.
stop_engine() {
    local count='import json, sys; print(sum(calls["count"] for calls in json.load(sys.stdin)["calls"]))'
    "$command" engine status --format json | python3 -c "$count"
    "$command" engine stop >/dev/null 2>"$stage/stderr" || fail "$(<"$stage/stderr")"
}

# Ask a server which address it sees, from a namespace or from the host. Prints its answer.
ask_from() { # TCP or UDP, client, address, port
    local inside=(ip netns exec "$2")
    [[ $2 != host ]] || inside=()
    # shellcheck disable=SC2016  # parameters of the inner shell
    "${inside[@]}" timeout 3 bash -c 'exec 3<>"/dev/$0/$1/$2"; echo >&3; head -n 1 <&3' \
        "${1,,}" "$3" "$4" 2>"$stage/stderr" || fail "$2 cannot reach $1 port $4 of $3: $(<"$stage/stderr")"
}

# Start a server, which tells its clients which address it sees.
serve() { # namespace, ports
    ip netns exec "$1" python3 demo/server.py "${@:2}" &
    until ip netns exec "$1" bash -c "</dev/tcp/127.0.0.1/$2" 2>/dev/null; do sleep 0.02; done
}

read_bridge() { python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["plugins"][0]["bridge"])' "$1"; }

# All that an attachment consists of, sorted by kind, one item a line.
take_snapshot() {
    local name
    mkdir "$stage/$1"
    cd "$stage/$1"
    {
        ip -o link show | sed -E 's/^[0-9]+: ([^:@]+).*/host \1/'
        for name in "${containers[@]}"; do
            ip -n "$name" -o link show | sed -E "s/^[0-9]+: ([^:@]+).*/$name \1/"
        done
    } >links
    { iptables-save && ip6tables-save; } | sed -n '/^-A/p; /^:.* - /p' >rules
    # Beside the leases there are a lock, the address that was given out last, and an index.
    list_files /var/lib/cni/networks -not -path '*/.*' -name '*[.:]*' -not -name 'last_*' >leases
    list_files /run/shibafu >records
    cd "$OLDPWD"
}

list_files() { if [[ -d $1 ]]; then find "$@" -type f -printf '%P\n'; fi; }

count() { wc -l <"$stage/$1/$2"; }

# --- A machine of its own ---

enter_stage "$1" "$2"
readonly conflist=$stage/repository/conf/20-dual-stack.conflist
# The plugins may be links to those in its own folder.
command=$(realpath "$stage/plugins/shibafu-bridge")
readonly command=${command%/*}/shibafu
bridges=("$(read_bridge "$conflist")")
calls=$((3 * ${#containers[@]})) # of plugins

headline "A machine of its own" "whose links, rules and leases are not those of this host"
ip link set lo up
for name in outside "${containers[@]}"; do
    ip netns add "$name"
    ip -n "$name" link set lo up
done
ip link add eth0 type veth peer name eth0 netns outside
ip address add "$host4/24" dev eth0
ip address add "$host6/64" dev eth0 nodad
ip link set eth0 up
ip -n outside address add "$outside4/24" dev eth0
ip -n outside address add "$outside6/64" dev eth0 nodad
ip -n outside link set eth0 up
serve outside "$port"
# The kernel may take a second to notice that both ends of the link are up.
ping -n -q -c 1 -i 0.2 -w 5 "$outside6" >/dev/null || fail "no IPv6 between host and outside"
iptables -P FORWARD DROP
ip6tables -P FORWARD DROP
row host "$host4, $host6; FORWARD policy DROP, as with Docker"
row outside "$outside4, $outside6; has no route to the containers"
row "${containers[*]}" "network namespaces with nothing but lo"
said=$(start_engine)
row engine "$said"
take_snapshot before

# --- ADD ---

headline "Attach" "with ${conflist##*/}"
declare -A ip4 ip6
for name in "${containers[@]}"; do
    answer=$(call ADD "$name" "$conflist")
    read -r milliseconds address4 address6 <<<"$answer"
    ip4[$name]=${address4%/*} ip6[$name]=${address6%/*}
    row "ADD $name" "eth0 has $address4 and $address6" "$milliseconds"
done
take_snapshot attached
echo
python3 demo/draw.py "$stage/results" ${colour:+--colour} --host "$host4" "$host6" --outside "$outside4" "$outside6"

# --- Traffic ---

headline "Talk" "over IPv4 and IPv6"
read -r _ _ gateway4 _ < <(ip -n red -4 route show default)
read -r _ _ gateway6 _ < <(ip -n red -6 route show default)
for address in "${ip4[green]}" "${ip6[green]}"; do
    milliseconds=$(ping_from red "$address")
    row "red → green" "$address answers" "$milliseconds"
done
for address in "$gateway4" "$gateway6"; do
    milliseconds=$(ping_from green "$address")
    row "green → gateway" "$address answers" "$milliseconds"
done
check_nat() { # the outside's address, the host's, the container's
    local seen milliseconds
    milliseconds=$(ping_from blue "$1")
    seen=$(ask_from TCP blue "$1" "$port")
    [[ $seen == "$2" ]] || fail "the outside saw $seen, not the host's address $2"
    row "blue → outside" "it sees $seen, not $3" "$milliseconds"
}
check_nat "$outside4" "$host4" "${ip4[blue]}"
check_nat "$outside6" "$host6" "${ip6[blue]}"

# --- CHECK, DEL ---

headline "Check and detach"
for name in "${containers[@]}"; do
    answer=$(call CHECK "$name" "$conflist")
    row "CHECK $name" "all is as ADD left it" "${answer% }"
done
for name in "${containers[@]}"; do
    answer=$(call DEL "$name" "$conflist")
    [[ -z $(ip -n "$name" -o link show type veth) ]] || fail "$name still has its interface"
    row "DEL $name" "eth0 and its link on the host are gone" "${answer% }"
done

if [[ -n $all ]]; then
    # shellcheck source=packaging/demo/chain.sh
    source demo/chain.sh
    bridges+=("$(read_bridge "$chained")" "$(read_bridge "$another")")
    # And of a refused ADD the first four, and the DEL.
    calls=$((calls + 3 * 5 * ${#containers[@]} + 4 + 5))
fi
if [[ -x $command ]]; then
    run=$(stop_engine)
    row engine "has run $run of these $calls calls; stopped"
fi

# --- Nothing is left ---

headline "What is left" "before ADD → attached → after DEL"
take_snapshot after
# Bridges stay for the next container, as with the reference plugins.
for bridge in "${bridges[@]}"; do
    printf 'host %s\n' "$bridge" >>"$stage/before/links"
    [[ -z $(ip -o link show master "$bridge") ]] || fail "the bridge $bridge still has a port"
done
for kind in links leases rules records; do
    difference=$(diff <(sort "$stage/before/$kind") <(sort "$stage/after/$kind")) || fail "not as before: $kind
$difference"
done
row links "$(($(count before links) - ${#bridges[@]})) → $(count attached links) → $(count after links), with the empty ${bridges[*]}"
row leases "$(count before leases) → $(count attached leases) → $(count after leases)"
row "firewall rules" "$(count before rules) → $(count attached rules) → $(count after rules)"
row "records in /run/shibafu" "$(count before records) → $(count attached records) → $(count after records)"

show_success
