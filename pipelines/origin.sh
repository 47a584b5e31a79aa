#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# Sends a video to any number of machines that serve it with edge.sh.
# shellcheck source=common.sh source-path=SCRIPTDIR
. "$(dirname "$(readlink -f "$0")")/common.sh"
# shellcheck source=zenoh/common.sh
. "$here/zenoh/common.sh"

key=$default_key

usage() {
    cat <<USAGE
Usage: pipelines/$me [OPTION...] SOURCE

Encodes SOURCE once and sends it through Zenoh to every edge.sh that subscribes, each of
which serves as many viewers as one machine can. Edges can connect and disconnect at any
time. For a slow edge frames are dropped, without slowing down the others. The first run
builds Zenoh's plugin, in some five minutes.

$source_kinds

A file plays once, at its own rate.

$source_options
  --key K       the key of the camera (default $default_key): names separated by /
$listen_here
$router_option
$network_options
$common_options

Press q in the terminal or Ctrl-C to stop.

Examples:
  pipelines/$me --host 0.0.0.0 --key cam/door/jpeg camera
  pipelines/$me --router relay.example.org --tls door.pem door.key ca.pem camera
USAGE
}

split_options "$@"
set -- "${words[@]}"
while (($#)); do
    case $1 in
        --key) value_of "$@" && key=$value && shift 2 ;;
        -?*) source_option "$@" || network_option "$@" || listening_option "$@" || common_option "$@"; shift "$taken" ;;
        *)
            [[ -z $input && -n $1 ]] || usage_error 'exactly one SOURCE is needed'
            input=$1
            shift
            ;;
    esac
done
[[ -n $input ]] || usage_error 'exactly one SOURCE is needed'
check_key "$key"
for n in "${!routers[@]}"; do
    routers[n]=$(endpoint "${routers[n]}")
done

prepare
find_media

# Edges send only requests to an origin, no frames.
largest_sample=$((64 << 10))
at=$(endpoint "$(address "$host" "$port")")
if ((${#routers[@]})); then
    hello_endpoints=("${routers[@]}")
    configure() { write_configuration origin client '' "$(in_turn "${routers[@]}")"; }
    configure
else
    # Clients of an origin may subscribe to frames, but not publish through it. Only its own
    # hello process may publish, through a socket that no other user can open.
    allow_watching
    listens=("$at")
    if [[ -z $dry_run ]]; then
        a_scratch
        own=unixsock-stream/$scratch/hello
        listens+=("$own")
        hello_endpoints=("$own")
        allow 'link_protocols: ["unixsock-stream"]' ingress put "**/$hello"
    fi
    write_configuration origin peer "$(quoted "${listens[@]}")" '' "$(access_control)"
fi

# Distinguishes two origins with the same key.
origin=$(printf '%s-%04x' "${HOSTNAME%%.*}" $((SRANDOM & 0xffff)))

# Announces the camera once a second, at each router separately: its frames may take any of them.
start_hello() {
    local n written
    [[ -z $config ]] || return 0
    printf '%s\n' "hello $key $origin" >"$scratch/line" || die "'$scratch/line' cannot be written: is the disk full?"
    for n in "${!hello_endpoints[@]}"; do
        write_configuration "hello$n" client '' "$(quoted "${hello_endpoints[n]}")"
        start "hello$n" gst-launch-1.0 -f -q multifilesrc "location=$scratch/line" loop=true ! \
            identity "datarate=$(stat --format=%s "$scratch/line")" ! \
            zenohsink "config=$written" "$(property key-expr "$key/$hello")" "${sample[@]}" \
                priority=7 congestion-control=drop </dev/null
    done
}

# A sample is only the JPEG: jpegcheck, or a program without GStreamer, needs no more. Sent caps
# would make zenohsrc change them in the middle of the stream.
sample=(send-caps=false send-buffer-meta=false)
sink=("config=$written" "$(property key-expr "$key")" "${sample[@]}" congestion-control=drop)
[[ -z $live ]] || sink+=(sync=false)
gst=(-m -v "${media[@]}" ! jpegcheck name=camera0 capture-time=true "$(property origin "$origin")" stats-interval=1000000000 !
    zenohsink "${sink[@]}")

handle_other_line() {
    case $2 in
        *'etting pipeline to PLAYING'*)
            [[ -z $announced ]] || return 0
            announced=yes
            invite
            ;;
        *) ! handle_check "$2" || show_status "$rate frames/s ($frames frames)" ;;
    esac
}

invite() {
    local to=${routers[0]-} with="--key $key$tls_arguments"
    if [[ -n $to ]]; then
        say "Sending $input as $key through $to; serve it anywhere with: pipelines/edge.sh --router $to $with"
        return
    fi
    say "Sending $input as $key; serve it with: pipelines/edge.sh --connect $(public_endpoint) $with"
    if local_only; then
        say 'Only this machine can connect; --host 0.0.0.0 lets others connect as well.'
    elif ((${#tls[@]} == 0)); then
        say "Anyone who can reach port $port can watch; --tls requires a certificate."
    fi
}

# handle_hello KEY ORIGIN: a hello that came through a router, as frames would. Warns if it is from
# another origin.
handle_hello() {
    [[ $2 != "$origin" ]] || return 0
    [[ -n ${rival-} ]] || complain "warning: $2 sends $key, too; edges show the origin that was first."
    rival=$2
    return 1
}

# Reports once why frames do not get through any router, and when they do again.
on_tick() {
    ((${#endpoints[@]})) || return 0
    restart_probes
    [[ -z $ending$failure ]] || return 0
    if prefer_open_router; then
        configure
        restart_pipeline
    fi
    local n reasons=()
    for n in "${!endpoints[@]}"; do
        if [[ -n ${hello_at[n]} ]]; then
            [[ -z $obstacle ]] || say "Frames get through ${endpoints[n]}."
            obstacle=
            return
        fi
        case ${states[n]} in
            '') return 0 ;; # not known yet
            open) ((now - probed_at[n] > 4000)) || return 0 ;;
        esac
        reasons+=("${endpoints[n]} ${states[n]/#open/accepts us, but does not let us publish $key: see --publishers there}")
    done
    [[ "${reasons[*]}" != "$obstacle" ]] || return 0
    obstacle=${reasons[*]}
    say "No frame gets through: $(printf '%s; ' "${reasons[@]}")retrying."
}
obstacle=

begin() {
    connected=
    launch
}

begin
start_hello
((${#routers[@]} == 0)) || start_probes "$key/$hello" "${routers[@]}"
follow
outcome 'The video has ended.'
