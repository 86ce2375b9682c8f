# shellcheck shell=bash
# The steps that `demo.sh --all` adds: a chain of plugins that publish ports, limit what containers send and receive,
# and keep networks apart.
#
# Sourced by steps.sh, whose functions, containers and addresses it uses.
# shellcheck disable=SC2154,SC2004  # they are not assigned here, nor declared as arrays

readonly chained=$stage/repository/conf/40-chained.conflist another=$stage/another.conflist
readonly web=8080 dns=5300 receive_limit=20 send_limit=10
# A second network of the same kind, on a bridge of its own.
sed 's/shibafu-chained/another/; s/shibafu3/another0/; s/10\.76\./10.176./g; s/:76::/:176::/' "$chained" >"$another"
declare -A networks=([red]=$chained [green]=$chained [blue]=$another)
declare -A asked=([green]='{}' [blue]='{}')
asked[red]='{
    "portMappings": [
        { "hostPort": '$web', "containerPort": 80, "protocol": "tcp" },
        { "hostPort": '$dns', "containerPort": 53, "protocol": "udp", "range": 3 }
    ],
    "bandwidth": { "ingressRate": '$receive_limit'000000, "egressRate": '$send_limit'000000 }
}'

# --- Doing ---

# A call of the chain for a container. Prints milliseconds and addresses.
call_chain() { call "$1" "$2" "${networks[$2]}" "${asked[$2]}"; }

# A container asks for a port that another one has. As a runtime does, DEL removes what was made before the refusal.
check_refusal() { # container, protocol, port, whose it is
    local former=${asked[$1]} refusal="port $3/$2 of the host is taken by container demo-$4" said
    asked[$1]='{ "portMappings": [{ "hostPort": '$3', "containerPort": 80, "protocol": "'$2'" }] }'
    if said=$(call_chain ADD "$1" 2>&1); then fail "$1 got port $3"; fi
    [[ $said == *"$refusal"* ]] || fail "$1 asked for port $3: $said"
    call_chain DEL "$1" >/dev/null
    asked[$1]=$former
    row "ADD $1, TCP $3" "refused: $refusal"
}

# What somebody sees as source address who is asked at a published port.
check_port() { # protocol, client, address, port, the address that the container is to see
    local seen
    seen=$(ask_from "$1" "$2" "$3" "$4")
    [[ $seen == "$5" ]] || fail "red saw $seen, not $5"
    row "$2 → $1 $4" "red answers at $3, and sees $seen"
}

# How many Mbit/s get through to a receiver.
measure_speed() { # sender, receiver, the receiver's address
    ip netns exec "$2" python3 demo/throughput.py receive 5201 >"$stage/speed" 2>"$stage/stderr" &
    local receiver=$!
    ip netns exec "$1" python3 demo/throughput.py send "$3" 5201 2>"$stage/stderr" || fail "$(<"$stage/stderr")"
    wait "$receiver" || fail "$(<"$stage/stderr")"
    speed=$(<"$stage/speed")
}

# The same, against the limit in Mbit/s or, without one, against ten times the limits of the others. A busy machine
# may be slower for a moment: one of three times has to be right.
check_speed() { # sender, receiver, the receiver's address, limit
    local speed
    for _ in 1 2 3; do
        measure_speed "$@"
        if python3 -c "exit(not (0.9 < $speed / ${4:-1} < 1.1 if '${4:-}' else $speed > 10 * $receive_limit))"; then
            row "$1 → $2" "$speed Mbit/s; ${4:+the limit is }${4:-no limit}"
            return
        fi
    done
    if [[ -n ${4:-} ]]; then fail "$1 → $2: $speed Mbit/s, and the limit is $4 Mbit/s"; fi
    fail "$1 → $2: only $speed Mbit/s without a limit"
}

# A container has no answer from an address.
check_silence() { # container, who, address, why
    ! ip netns exec "$1" ping -n -c 1 -W 0.5 "$3" >/dev/null 2>&1 || fail "$1 has an answer from $3"
    row "$1 → $2" "$4"
}

# --- ADD ---

headline "Attach to a chain" "bridge, tuning, firewall, portmap, bandwidth: ${chained##*/}"
for name in "${containers[@]}"; do
    [[ $name != green ]] || check_refusal green tcp "$web" red
    answer=$(call_chain ADD "$name")
    read -r milliseconds address4 address6 <<<"$answer"
    ip4[$name]=${address4%/*} ip6[$name]=${address6%/*}
    row "ADD $name" "$address4 and $address6" "$milliseconds"
done
value=$(ip netns exec red sysctl -n net.core.somaxconn)
[[ $value == 8192 ]] || fail "net.core.somaxconn is $value in red"
row "tuning" "net.core.somaxconn is $value in each of them"

# --- Published ports ---

headline "Published ports" "of red: TCP $web leads to 80, UDP $dns to $((dns + 2)) lead to 53 to 55"
serve red 80 55
gateway=$(ip -n red -4 route show default)
gateway=${gateway#default via } gateway=${gateway%% *}
for client in "outside $host4 $outside4" "outside $host6 $outside6" "host 127.0.0.1 $gateway" \
    "green $host4 $gateway" "red $host4 $gateway"; do
    read -r client address seen <<<"$client"
    check_port TCP "$client" "$address" "$web" "$seen"
done
check_port UDP outside "$host4" $((dns + 2)) "$outside4"
check_port UDP outside "$host6" $((dns + 2)) "$outside6"

# --- Limits ---

headline "Limits" "of red: it receives $receive_limit Mbit/s and sends $send_limit Mbit/s"
check_speed green red "${ip4[red]}" "$receive_limit"
check_speed green red "${ip6[red]}" "$receive_limit"
check_speed red outside "$outside4" "$send_limit"
check_speed green outside "$outside4"

# --- Firewall ---

headline "Firewall" "red and green are on one network, blue is on another; nothing passes between them"
for address in "${ip4[red]}" "${ip6[red]}"; do
    milliseconds=$(ping_from green "$address")
    row "green → red" "$address answers" "$milliseconds"
    check_silence blue red "$address" "$address does not answer"
done
milliseconds=$(ping_from blue "$outside4")
row "blue → outside" "$outside4 answers" "$milliseconds"
iptables -A CNI-ADMIN -d "$outside4" -p icmp -j DROP
check_silence blue outside "$outside4" "$outside4 does not answer: a rule in CNI-ADMIN"
iptables -F CNI-ADMIN

# --- CHECK, DEL ---

headline "Check and detach the chain"
for name in "${containers[@]}"; do
    answer=$(call_chain CHECK "$name")
    row "CHECK $name" "all is as ADD left it" "${answer% }"
done
for name in "${containers[@]}"; do
    answer=$(call_chain DEL "$name")
    row "DEL $name" "detached" "${answer% }"
done
! (ask_from TCP outside "$host4" "$web") >/dev/null 2>&1 || fail "port $web is still published"
row "outside → TCP $web" "nobody answers"
