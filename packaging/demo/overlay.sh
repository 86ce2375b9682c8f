#!/bin/bash
# The steps of `demo.sh --overlay`, on the machine of its own that demo.sh makes: three hosts on one link.
#
#   overlay.sh REPOSITORY PLUGINS STAGE
set -euo pipefail
export LC_ALL=C.UTF-8 # the length of a string is counted in characters

readonly root=$1 stage=$3 hosts=(one two three)
declare -rA containers=([one]=red [two]=green [three]=blue) numbers=([one]=1 [two]=2 [three]=3)
# Addresses that are reserved for documentation, RFC 5737 and RFC 3849.
readonly etcd=http://192.0.2.1:2379

# shellcheck source=packaging/demo/stage.sh
source "$root/packaging/demo/stage.sh"

# --- Doing; each prints what was seen, or ends the demo ---

declare -A mounts agents
# Run something on a host: in its network, with its own /run/shibafu and leases. With process=exec, nothing of
# this shell stays around it.
on() { # host, command
    ${process:-} nsenter --mount="/proc/${mounts[$1]}/ns/mnt" --net="/run/netns/$1" --wd="$PWD" "${@:2}"
}

# The command, with the configuration of a host's agent. Prints what it says.
overlay() { # host, words
    on "$1" "$stage/plugins/shibafu" overlay "${@:2}" --config "$stage/$1.yaml" 2>"$stage/stderr" ||
        fail "$(<"$stage/stderr")"
}

# A call of the network's plugins on a host. Prints milliseconds and addresses.
call() { # verb, host
    on "$2" python3 demo/call.py "$1" "${containers[$2]}" "$conflist" "$stage/plugins" "$stage/results" 2>"$stage/stderr" ||
        fail "$(<"$stage/stderr")"
}

start_agent() { # host
    process="exec" on "$1" "$stage/plugins/shibafu" overlay run --config "$stage/$1.yaml" >"$stage/$1.log" 2>&1 &
    agents[$1]=$!
}

stop_agent() { # host
    kill "${agents[$1]}"
    wait "${agents[$1]}" || fail "the agent of $1: $(<"$stage/$1.log")"
}

# Wait for what a command finds. Prints how many milliseconds that took.
wait_for() { # what, command
    local began=${EPOCHREALTIME/[.,]/} now
    until "${@:2}" >/dev/null 2>&1; do
        now=${EPOCHREALTIME/[.,]/}
        ((now - began < 15000000)) || fail "$1: $(tail -qn 5 "$stage"/*.log 2>/dev/null)"
        sleep 0.01
    done
    now=${EPOCHREALTIME/[.,]/}
    echo "$(((now - began) / 1000)).0"
}

has_subnet() { on "$1" test -e "/run/shibafu/overlay/blue.env"; } # host
read_subnet() { on "$1" sed -n 's/^FLANNEL_SUBNET=\(.*\)\.1\/24/\1.0\/24/p' /run/shibafu/overlay/blue.env; } # host
routes_to() { ip -n "$1" route show exact "$2" | grep -q flannel; } # host, subnet
forgot() { ! routes_to "$@"; } # host, subnet

# --- Three hosts ---

enter_stage "$1" "$2"
readonly conflist=$stage/repository/conf/60-overlay.conflist

mkdir /run/shibafu

headline "Three hosts on one link" "each with a container that has nothing but lo"
ip link set lo up
ip link add switch type bridge
ip link set switch up
for host in "${hosts[@]}"; do
    ip netns add "$host"
    ip netns add "${containers[$host]}"
    for name in "$host" "${containers[$host]}"; do ip -n "$name" link set lo up; done
    ip link add "to-$host" master switch type veth peer name eth0 netns "$host"
    ip link set "to-$host" up
    ip -n "$host" address add "192.0.2.${numbers[$host]}/24" dev eth0
    ip -n "$host" address add "2001:db8:2::${numbers[$host]}/64" dev eth0 nodad
    ip -n "$host" link set eth0 up
    # What a host has in /run/shibafu and /var/lib is its own, as long as this process is there.
    # shellcheck disable=SC2016  # a parameter of the inner shell
    unshare --mount sh -c 'mount -t tmpfs shibafu /run/shibafu && mount -t tmpfs lib /var/lib && : >"$0" && exec sleep inf' \
        "$stage/$host.mounted" &
    mounts[$host]=$!
    wait_for "the files of $host" test -e "$stage/$host.mounted" >/dev/null
    on "$host" iptables -P FORWARD DROP
    on "$host" ip6tables -P FORWARD DROP
    row "$host" "192.0.2.${numbers[$host]}, 2001:db8:2::${numbers[$host]}; FORWARD policy DROP"
done

# --- The network ---

headline "One network" "in etcd, for all hosts"
process="exec" on one etcd --data-dir "$stage/etcd" --listen-client-urls "$etcd" --advertise-client-urls "$etcd" \
    --listen-peer-urls http://127.0.0.1:2380 >"$stage/etcd.log" 2>&1 &
store=$!
milliseconds=$(wait_for "etcd does not answer" on one bash -c '</dev/tcp/192.0.2.1/2379')
row etcd "runs on one" "$milliseconds"
for host in "${hosts[@]}"; do
    overlay "$host" init blue --network 10.42.0.0/16 --network6 fd42::/48 --endpoints "$etcd" --iface eth0 >/dev/null
    start_agent "$host"
    milliseconds=$(wait_for "$host has no subnet" has_subnet "$host")
    row "overlay run on $host" "has $(read_subnet "$host")" "$milliseconds"
done

# --- ADD ---

headline "Attach" "with ${conflist##*/}: the same file on each host"
declare -A ip4 ip6
for host in "${hosts[@]}"; do
    answer=$(call ADD "$host")
    read -r milliseconds address4 address6 <<<"$answer"
    ip4[$host]=${address4%/*} ip6[$host]=${address6%/*}
    row "ADD ${containers[$host]} on $host" "eth0 has $address4 and $address6" "$milliseconds"
done
echo
python3 demo/draw.py "$stage/results" ${colour:+--colour} --hosts "${hosts[@]}"

# --- Traffic ---

headline "Talk" "from host to host, without masquerading"
for host in "${hosts[@]}"; do
    milliseconds=$(wait_for "no IPv6 yet on $host" on "$host" ping -n -c 1 -W 1 "${ip6[$host]}")
done
for pair in "one two" "two three" "three one"; do
    read -r from to <<<"$pair"
    for address in "${ip4[$to]}" "${ip6[$to]}"; do
        milliseconds=$(ping_from "${containers[$from]}" "$address")
        row "${containers[$from]} → ${containers[$to]}" "$address answers" "$milliseconds"
    done
done
ip netns exec blue iperf3 --server --one-off >/dev/null &
server=$!
wait_for "iperf3 does not listen" ip netns exec blue bash -c 'ss -ltn | grep -q :5201' >/dev/null
readonly received='import json, sys; print(round(json.load(sys.stdin)["end"]["sum_received"]["bits_per_second"] / 1e9, 1))'
speed=$(ip netns exec red iperf3 --client "${ip4[three]}" --time 2 --json | python3 -c "$received")
wait "$server" || true
row "iperf3 red → blue" "$speed Gbit/s"

# --- A host leaves and comes back ---

headline "A host leaves, and comes back" "its container stays"
subnet=$(read_subnet two)
stop_agent two
milliseconds=$(ping_from red "${ip4[two]}")
row "agent of two ends" "red → green: ${ip4[two]} still answers" "$milliseconds"
overlay one rm 192.0.2.2 >/dev/null
milliseconds=$(wait_for "one still has a route to $subnet" forgot one "$subnet")
row "overlay rm 192.0.2.2" "one has no route to $subnet any more" "$milliseconds"
! ip netns exec red ping -n -c 1 -W 0.5 "${ip4[two]}" >/dev/null || fail "green still answers red"
start_agent two
milliseconds=$(wait_for "one has no route to $subnet" routes_to one "$subnet")
row "overlay run on two" "has $(read_subnet two) again, one a route there" "$milliseconds"
milliseconds=$(ping_from red "${ip4[two]}")
row "red → green" "${ip4[two]} answers again" "$milliseconds"
kill "$store"
wait "$store" || true
milliseconds=$(ping_from blue "${ip4[one]}")
row "etcd ends" "blue → red: ${ip4[one]} answers" "$milliseconds"

# --- CHECK, DEL ---

headline "Check and detach" "without etcd"
for verb in CHECK DEL; do
    for host in "${hosts[@]}"; do
        answer=$(call "$verb" "$host")
        row "$verb ${containers[$host]} on $host" "$([[ $verb == CHECK ]] && echo "all is as ADD left it" || echo detached)" "${answer% }"
    done
done
for host in "${hosts[@]}"; do
    [[ -z $(ip -n "${containers[$host]}" -o link show type veth) ]] || fail "${containers[$host]} still has its interface"
    [[ -z $(on "$host" sh -c 'ls /var/lib/cni/flannel; iptables-save | grep SHIBAFU') ]] || fail "something is left on $host"
    stop_agent "$host"
done
row "on each host" "no rule, lease or file of a container is left"
show_success
