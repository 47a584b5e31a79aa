#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
set -euo pipefail
shopt -s inherit_errexit
soak=$(readlink -f "${BASH_SOURCE[0]}")
here=${soak%.sh}
root=${here%/tests/soak}

usage() {
    cat <<'EOF'
Usage: tests/soak.sh WHAT [OPTION...]

Long load and fault tests of b64jpegserversink and b64jpegclientsrc. Prints a line of
figures, and fails if a requirement is not met. Not part of tests/run.sh. Needs an
otherwise idle machine: a client that gets no CPU for a second loses frames.

  crowd      many clients for a minute: each gets every frame; CPU, memory
  hour       as many frames as an hour has, at full speed: all arrive; memory, open files
  kill       the server is killed (-9) ten times: the client reconnects each time
  half-open  the cable is unplugged: both ends notice, and the client reconnects
  link       a slow, long and lossy line: whole frames, and a delay that does not grow
  fits       the same line with a stream that fits it: every frame
  stalled    one client stalls and one is slow: the others get every frame; memory
  connects   many clients connect at once: the time to the first frame of each
  all        all of these, also with --stock and --sendall

  --stock          the same with b64jpegpay ! tcpserversink and tcpclientsrc ! b64jpegdepay,
                   for comparison; nothing is required
  --sendall        the same with a Python server that calls sendall (link and fits)
  --clients N      crowd, connects, stalled
  --seconds N      how long the stream is: crowd, link, fits, stalled
  --frames N       number of frames of hour
  --size BYTES     size of a JPEG; base64 makes it a third larger
  --fps N          frames per second, except for hour
  --queue-frames N longest queue of a client, in frames (25)
  --congestion CC  TCP congestion control on the line (default of the machine)
  --delay MS, --loss PERCENT, --rate MBIT, --line-queue KB, --seed N
                   the line, in each direction (50, 1, 5, 64; seed 1 for the losses)
  --help           this text

half-open, link and fits need two network namespaces: run them as root, or on a kernel
that allows user namespaces. The line is netem where the kernel has it, otherwise tests/soak/link.py.
EOF
}

usage_error() {
    echo "tests/soak.sh: $* ('tests/soak.sh --help' explains)" >&2
    exit 2
}

# ---- processes --------------------------------------------------------------

work=$(mktemp -d)
declare -A pids=() got=()
python=(/usr/bin/python3 -u) # the system Python, which has gi
far=()                       # prefix of a command that runs on the other host

# start NAME COMMAND...: starts a process; its output goes to $work/NAME.
start() {
    local name=$1
    shift
    : >"$work/$name"
    "$@" >"$work/$name" 2>&1 &
    pids[$name]=$!
}

# stop NAME [SIGNAL]: stops a process; returns its exit status.
stop() {
    local pid=${pids[$1]}
    unset "pids[$1]"
    kill "-${2:-TERM}" "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null
}

# finish NAME: waits for a process, which must succeed.
finish() {
    local pid=${pids[$1]}
    wait "$pid" || broken "$1" "exit status $?"
    unset "pids[$1]"
}

broken() {
    printf 'tests/soak.sh: %s: %s; it printed:\n' "$1" "$2" >&2
    tail -n 20 "$work/$1" >&2
    exit 1
}

# await NAME PATTERN [COUNT [SECONDS]]: waits until COUNT lines of the output match.
await() {
    local deadline=$((SECONDS + ${4:-30}))
    until (($(grep -cE -- "$2" "$work/$1") >= ${3:-1})); do
        kill -0 "${pids[$1]}" 2>/dev/null || broken "$1" "ended before '$2'"
        ((SECONDS < deadline)) || broken "$1" "no '$2' in time"
        sleep 0.05
    done
}

# Reads the figures that NAME printed into `got`.
figures() {
    local name value
    while IFS='=' read -r name value; do
        [[ ! $name =~ ^[a-z_0-9]+$ || -z $value ]] || got[$name]=$value
    done <"$work/$1"
}

clean_up() {
    local status=$? pid
    trap - EXIT
    # A nested run of this script cleans up by itself.
    if [[ -n ${pids[run]:-} ]]; then
        kill "${pids[run]}" 2>/dev/null || true
        wait "${pids[run]}" || true
        unset 'pids[run]'
    fi
    for pid in "${pids[@]}"; do
        kill -KILL "$pid" 2>/dev/null || true
    done
    wait 2>/dev/null
    rm -rf "$work"
    exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# ---- results ----------------------------------------------------------------

failures=()

# must WHAT COMMAND...: records WHAT as a failure if the command fails.
must() {
    "${@:2}" || failures+=("$1")
}

# calculate EXPRESSION [FORMAT]: evaluates with awk, with the figures as variables.
calculate() {
    local name variables=()
    for name in "${!got[@]}"; do
        variables+=(-v "$name=${got[$name]}")
    done
    awk "${variables[@]}" "BEGIN { printf \"${2:-%.0f}\", $1 }"
}

# holds CONDITION: succeeds if the condition on the figures is true.
holds() {
    (($(calculate "($1) ? 1 : 0")))
}

row() {
    printf '%-10s %-8s %-7s %s\n' "$@"
}

# result FIGURES: prints the result; fails if a requirement of our elements is not met.
result() {
    local verdict=ok reasons=
    if ((${#failures[@]})); then
        printf -v reasons '; %s' "${failures[@]}"
        [[ $peer != ours ]] && verdict='not ok' || verdict=FAILED
    fi
    row "$what" "$peer" "$verdict" "$1${reasons:+ -- NOT: ${reasons:2}}"
    [[ $verdict != FAILED ]]
}

# ---- measurements -----------------------------------------------------------

# sink HOST [PROPERTY...]: sets `sink` to the serving elements of the peer.
sink() {
    case $peer in
        # The strictest limits that the stock sink has.
        stock) sink="b64jpegpay capture-time=$stamps ! tcpserversink name=sink host=$1 port=0 sync=false unit-format=buffers units-soft-max=$queue_frames recover-policy=keyframe" ;;
        *) sink="b64jpegserversink name=sink host=$1 port=0 sync=false queue-frames=$queue_frames capture-time=$stamps ${*:2}" ;;
    esac
}
stamps=false

# source_of HOST [PROPERTY...]: sets `source` to the receiving elements of the peer.
source_of() {
    case $peer in
        stock) source="tcpclientsrc host=$1 port=${got[port]} ! b64jpegdepay" ;;
        *) source="b64jpegclientsrc host=$1 port=${got[port]} ${*:2}" ;;
    esac
}

# serve [OPTION...]: starts the server with the elements in `sink` and waits until it listens.
serve() {
    [[ $peer != stock ]] || set -- "$@" --linger 1
    start server "${python[@]}" "$here/server.py" --size "$size" --sink "$sink" "$@"
    await server '^port='
    figures server
}

# Allowed growth in KB: memory is allocated in blocks; a leak would grow by more.
flat='1024 * 4'

crowd() {
    : "${clients:=500}" "${seconds:=60}" "${size:=20000}" "${fps:=25}"
    sink 127.0.0.1
    serve --fps "$fps" --frames $((fps * seconds)) --clients "$clients"
    start clients "${python[@]}" "$here/clients.py" --port "${got[port]}" --clients "$clients" --size "$size" --apart 0.005
    finish server
    finish clients
    figures server
    figures clients
    must 'every client every frame' holds "fewest == $((fps * seconds)) && missing == 0"
    must 'memory flat' holds "rss_end < rss_start + $flat"
    result "$clients clients x ${got[fewest]}..${got[most]} of $((fps * seconds)) frames of $size bytes, ${got[missing]} missing between them; \
server $(calculate '100 * (cpu_end - cpu_start) / (0.9 * seconds)' %.1f) % of a core, \
$(calculate "1e6 * (cpu_end - cpu_start) / (0.9 * $fps * $seconds * $clients)" %.2f) us a frame and client; \
rss $(megabytes start) -> $(megabytes end) MB; clients $(calculate "100 * cpu_clients / seconds" %.0f) % of a core"
}

# megabytes WHEN [PREFIX]: resident memory in MB.
megabytes() {
    [[ ${got[${2:-}rss_$1]} ]] || { echo '?' && return; }
    calculate "${2:-}rss_$1 / 1024" %.1f
}

hour() {
    : "${frames:=90000}" "${size:=20000}"
    sink 127.0.0.1 max-clients=1 wait-for-client=true
    serve --frames "$frames" --clients "$([[ $peer == stock ]] && echo 1 || echo 0)"
    source_of 127.0.0.1 reconnect=false
    start watch "${python[@]}" "$here/watch.py" --source "$source" --size "$size" --frames "$frames"
    finish watch
    finish server
    figures watch
    local name
    for name in rss_start rss_middle rss_end fds_start fds_end frames missing; do
        got[w_$name]=${got[$name]:-}
    done
    figures server
    must 'every frame' holds "w_frames == $frames && w_missing == 0"
    must "the server's memory flat" holds "rss_end < rss_start + $flat"
    must "the client's memory flat" holds "w_rss_end < w_rss_start + $flat"
    must 'files closed' holds 'fds_end <= fds_start && w_fds_end <= w_fds_start'
    result "${got[w_frames]} of $frames frames in $(calculate seconds %.1f) s; \
server rss $(megabytes start) -> $(megabytes middle) -> $(megabytes end) MB, ${got[fds_start]} -> ${got[fds_end]} files; \
client rss $(megabytes start w_) -> $(megabytes middle w_) -> $(megabytes end w_) MB, ${got[w_fds_start]} -> ${got[w_fds_end]} files"
}

kill_server() {
    local rounds=10 round
    : "${size:=20000}" "${fps:=25}"
    sink 127.0.0.1
    serve --fps "$fps"
    sink=${sink/port=0/port=${got[port]}}
    source_of 127.0.0.1
    start watch "${python[@]}" "$here/watch.py" --source "$source" --size "$size"
    for ((round = 1; round <= rounds; ++round)); do
        # The stock client ends when its first server ends.
        await watch '^begins' "$round"
        sleep 1
        stop server KILL || true
        sleep 1
        kill -0 "${pids[watch]}" 2>/dev/null || break
        serve --fps "$fps"
    done
    if ((round > rounds)); then
        await watch '^begins' "$round"
        sleep 1
    fi
    must 'no error' stop watch
    figures watch
    must 'reconnects each time' holds "begun == $rounds + 1"
    must 'every frame while it is connected' holds 'missing == 0'
    must 'one warning each time' holds "$(grep -c '^warning' "$work/watch" || true) <= $rounds"
    result "$((got[begun] - 1)) of $rounds times back, ${got[frames]} frames, ${got[missing]} missing between them"
}

half_open() {
    : "${size:=20000}" "${fps:=25}"
    [[ $peer == ours ]] || usage_error 'half-open needs both of our elements'
    hosts
    ip link add near type veth peer name far
    address near far
    sink 10.99.0.1
    serve --fps "$fps"
    source_of 10.99.0.1 timeout=3000000000
    start watch "${far[@]}" "${python[@]}" "$here/watch.py" --source "$source" --size "$size"
    await watch '^begins'
    sleep 2
    # Long enough for the client to notice, too short for the server: it resets the old connection.
    cable down
    local cut=$SECONDS
    await watch 'b64jpeg-connection.*lost'
    local client=$((SECONDS - cut))
    sleep 2
    cable up
    local up=$SECONDS
    await watch '^begins' 2
    local back=$((SECONDS - up))
    await server 'b64jpeg-client-removed' 1 90
    must 'the forgotten connection is reset' grep -q 'b64jpeg-client-removed.*\(reset\|timeout\)' "$work/server"
    # Long enough for the server to notice.
    cable down
    cut=$SECONDS
    await server 'b64jpeg-client-removed' 2 120
    local noticed=$((SECONDS - cut))
    must 'the server reports the reason' grep -q 'b64jpeg-client-removed.*timeout' "$work/server"
    cable up
    await watch '^begins' 3
    must 'no error' stop watch
    must 'the server keeps running' stop server
    figures watch
    must 'whole' holds 'missing == 0'
    result "client notices after $client s and is back $back s after the cable; server removes it after $noticed s: \
$(sed -n 's/\\//g; s/^b64jpeg-client-removed.*reason=(string)\(.*\), frames=.*/\1/p' "$work/server" | head -n 2 | paste -sd, -)"
}

# cable up|down: plugs or unplugs the cable to the other host.
cable() {
    "${far[@]}" ip link set far "$1"
}

# hosts: creates a second network namespace, in which "${far[@]}" runs commands.
hosts() {
    local here_net
    here_net=$(readlink /proc/self/ns/net)
    start far unshare --net sleep infinity
    far=(nsenter --net --target "${pids[far]}")
    # Wait until the process has entered its namespace.
    while [[ $("${far[@]}" readlink /proc/self/ns/net || echo "$here_net") == "$here_net" ]]; do
        sleep 0.05
    done
    ip link set lo up
    "${far[@]}" ip link set lo up
}

# address NEAR FAR: configures the two devices at the ends of the line.
address() {
    ip link set "$2" netns "${pids[far]}"
    ip address add 10.99.0.1/24 dev "$1"
    "${far[@]}" ip address add 10.99.0.2/24 dev "$2"
    ip link set "$1" up
    "${far[@]}" ip link set "$2" up
}

# line: creates two hosts and the line between them.
line() {
    : "${delay:=50}" "${loss:=1}" "${rate:=5}" "${line_queue:=64}" "${seed:=1}"
    hosts
    local setting=/proc/sys/net/ipv4/tcp_congestion_control netem
    if [[ -n ${congestion:-} ]]; then
        echo "$congestion" >$setting
        echo "$congestion" | "${far[@]}" tee $setting >/dev/null
    fi
    congestion=$(<$setting)
    # netem counts packets in flight as queued.
    netem=(netem delay "${delay}ms" loss "$loss%" rate "${rate}mbit"
        limit "$(calculate "($line_queue + $rate * $delay / 8) / 1.5")")
    ip link add near gso_max_segs 1 type veth peer name far gso_max_segs 1
    if tc qdisc add dev near root "${netem[@]}" 2>/dev/null; then
        address near far
        "${far[@]}" tc qdisc add dev far root "${netem[@]}"
    else
        ip link delete near
        start link "${python[@]}" "$here/link.py" near far \
            --delay "$delay" --loss "$loss" --rate "$rate" --queue "$line_queue" --seed "$seed"
        await link '^ready'
        address near far
    fi
}

# over_line [OPTION...]: starts a sender and a receiver at the ends of the line.
over_line() {
    stamps=true
    line
    if [[ $peer == sendall ]]; then
        start server "${python[@]}" "$here/server.py" --size "$size" --sendall 10.99.0.1 --fps "$fps" "$@"
        await server '^port='
        figures server
    else
        sink 10.99.0.1
        serve --fps "$fps" --clients 1 "$@"
    fi
    source_of 10.99.0.1 reconnect=false
    start watch "${far[@]}" "${python[@]}" "$here/watch.py" --source "$source" --size "$size"
}

delays() {
    echo "early ${got[early_median]}/${got[early_p99]}/${got[early_max]} ms, late ${got[late_median]}/${got[late_p99]}/${got[late_max]} ms (median/p99/max)"
}

# of_line: describes the stream on the line.
of_line() {
    echo "$congestion, $(calculate "$fps * $size * 4 / 3 * 8 / 1e6" %.1f) Mbit/s into $rate: ${got[frames]} of $((fps * seconds)) frames, whole and in order"
}

link() {
    : "${seconds:=60}" "${size:=60000}" "${fps:=25}"
    over_line
    await watch '^begins'
    # Stop before the end of the stream, because at the end queued frames are the newest ones.
    start time sleep "$seconds"
    finish time
    stop watch || broken watch 'an error'
    stop server || broken server 'an error'
    figures watch
    must "no delay beyond the queue's" holds "late_max < 1000 * ($queue_frames / $fps + 2)"
    must 'delay does not grow' holds 'late_median < 1.5 * early_median + 300'
    result "$(of_line); delay $(delays)"
}

fits() {
    : "${seconds:=60}" "${size:=5000}" "${fps:=15}"
    over_line --frames $((fps * seconds))
    finish watch
    finish server
    figures watch
    must 'every frame' holds "frames == $((fps * seconds)) && missing == 0"
    must 'small delay' holds 'late_median < 500'
    result "$(of_line); delay $(delays)"
}

stalled() {
    : "${clients:=8}" "${seconds:=60}" "${size:=20000}" "${fps:=25}"
    sink 127.0.0.1
    serve --fps "$fps" --frames $((fps * seconds)) --clients "$clients"
    start clients "${python[@]}" "$here/clients.py" --port "${got[port]}" --clients "$clients" --size "$size" \
        --fps "$fps" --apart 0.1 --stall $((seconds / 2)) --slow 5
    finish server
    finish clients
    figures server
    figures clients
    must 'every frame for the healthy' holds "fewest == $((fps * seconds)) && missing == 0"
    must 'memory flat' holds "rss_end < rss_start + $flat"
    # The server cannot remove old frames from the buffers of a socket.
    must 'no old frames except in socket buffers' holds "stale_kb < 512"
    must 'the slow one gets frames' holds "slow_frames > $seconds"
    result "${got[clients]} healthy x ${got[fewest]}..${got[most]} of $((fps * seconds)) frames; \
slow: ${got[slow_frames]}; stalled for $((seconds / 2)) s: ${got[stale_frames]} old frames (${got[stale_kb]} KB), then fresh ones; \
rss $(megabytes start) -> $(megabytes end) MB"
}

connects() {
    : "${clients:=60}" "${size:=20000}" "${fps:=25}"
    sink 127.0.0.1
    serve --fps "$fps"
    await server '^begins'
    start clients "${python[@]}" "$here/clients.py" --port "${got[port]}" --clients "$clients" --size "$size" --greet 15
    finish clients
    figures clients
    stop server || broken server 'an error'
    must 'every client within a second' holds "greeted == $clients && first_max < 1000"
    result "first frame for ${got[greeted]} of $clients, after $(calculate first_median) ms (median), $(calculate first_max) ms (last)"
}

# ---- main -------------------------------------------------------------------

# in_namespace: runs the script again in a network namespace of its own, if possible.
in_namespace() {
    local way
    [[ -z ${SOAK_HOST:-} ]] || return 0
    for way in 'unshare --user --map-root-user --net' 'unshare --net'; do
        if $way true 2>/dev/null; then
            rm -rf "$work"
            SOAK_HOST=yes exec $way "$soak" "$@"
        fi
    done
    row "$what" "$peer" - 'skipped: cannot create network namespaces'
    exit 0
}

everything() {
    local failed=0 line
    row WHAT PEER RESULT FIGURES
    for line in crowd 'crowd --stock' hour 'hour --stock' kill 'kill --stock' half-open \
        link 'link --stock' 'link --sendall' fits 'fits --stock' \
        stalled 'stalled --stock' connects 'connects --stock'; do
        # shellcheck disable=SC2086 # a name and an option
        "$soak" $line "$@" &
        pids[run]=$!
        wait "${pids[run]}" || ((++failed))
        unset 'pids[run]'
    done
    if ((failed)); then
        echo "$failed failed"
        return 1
    fi
    echo 'All requirements are met.'
}

arguments=("$@")
what=${1-}
peer=ours
queue_frames=25 # b64jpegserversink's default
unset clients seconds frames size fps congestion delay loss rate line_queue seed
(($#)) && shift
while (($#)); do
    case $1 in
        --stock | --sendall) peer=${1#--} ;;
        --clients | --seconds | --frames | --size | --fps | --congestion | --delay | --loss | --rate | --queue-frames | --line-queue | --seed)
            (($# > 1)) || usage_error "$1 needs a value"
            name=${1#--}
            printf -v "${name//-/_}" %s "$2"
            shift
            ;;
        --help) usage && exit ;;
        *) usage_error "there is no option $1" ;;
    esac
    shift
done

case $what in
    link | fits) ;;
    crowd | hour | kill | half-open | stalled | connects | all)
        [[ $peer != sendall ]] || usage_error '--sendall is for link and fits'
        ;;
    --help) usage && exit ;;
    *) usage_error "there is no test '$what'" ;;
esac

if [[ -z ${SOAK_READY:-} ]]; then
    environment=$("$root/pipelines/setup.sh" --also gir1.2-gst-plugins-base-1.0 python3-gi)
    eval "$environment"
    # Every warning is a failure. Hundreds of clients need hundreds of file descriptors.
    export SOAK_READY=yes G_DEBUG=fatal-warnings
    ulimit -n "$(ulimit -Hn)"
fi
case $what in
    all) everything "${arguments[@]:1}" ;;
    half-open | link | fits) in_namespace "${arguments[@]}" && "${what//-/_}" ;;
    kill) kill_server ;;
    *) "$what" ;;
esac
