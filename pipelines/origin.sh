#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# Sends a video to any number of machines that serve it: see edge.sh.
# shellcheck source=common.sh source-path=SCRIPTDIR
. "$(dirname "$(readlink -f "$0")")/common.sh"
# shellcheck source=zenoh/common.sh
. "$here/zenoh/common.sh"

key=$default_key

usage() {
    cat <<USAGE
Usage: pipelines/$me [OPTION...] SOURCE

Encodes SOURCE once and sends it through Zenoh to every edge.sh that wants it, each of
which serves as many viewers as one machine can. Edges come and go; pictures for one that
is too slow are dropped, and nobody waits for it. The first time, Zenoh's plugin is
built: some five minutes.

$source_kinds

A file plays once, at its own rate.

$source_options
  --key K       what the camera is called (default $default_key): names with /
                between them
$listen_here
$router_option
$network_options
$common_options

q in the terminal or Ctrl-C ends it.

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

# Nobody has anything to send here but requests.
largest_sample=$((64 << 10))
at=$(endpoint "$(address "$host" "$port")")
if ((${#routers[@]})); then
    ways=("${routers[@]}")
    configure() { write_configuration origin client '' "$(in_turn "${routers[@]}")"; }
    configure
else
    # Whoever reaches an origin may ask it for pictures, but publish nothing by way of it.
    # Only what says hello for it may, through a socket where nobody else can come in.
    allow_watching
    listens=("$at")
    if [[ -z $dry_run ]]; then
        a_scratch
        own=unixsock-stream/$scratch/hello
        listens+=("$own")
        ways=("$own")
        allow 'link_protocols: ["unixsock-stream"]' ingress put "**/$hello"
    fi
    write_configuration origin peer "$(quoted "${listens[@]}")" '' "$(access_control)"
fi

# Two with the same key are told apart by it.
origin=$(printf '%s-%04x' "${HOSTNAME%%.*}" $((SRANDOM & 0xffff)))

# A line a second, to whoever is there; to each router for itself, as pictures may take any.
greet() {
    local n written
    [[ -z $config ]] || return 0
    printf '%s\n' "hello $key $origin" >"$scratch/line" || die "'$scratch/line' cannot be written: is the disk full?"
    for n in "${!ways[@]}"; do
        write_configuration "hello$n" client '' "$(quoted "${ways[n]}")"
        start "hello$n" gst-launch-1.0 -f -q multifilesrc "location=$scratch/line" loop=true ! \
            identity "datarate=$(stat --format=%s "$scratch/line")" ! \
            zenohsink "config=$written" "$(property key-expr "$key/$hello")" "${sample[@]}" \
                priority=7 congestion-control=drop </dev/null
    done
}

# A sample is the picture and nothing else: jpegcheck, or a program that knows no GStreamer,
# needs no more. zenohsrc would tell the caps in the middle of the stream.
sample=(send-caps=false send-buffer-meta=false)
sink=("config=$written" "$(property key-expr "$key")" "${sample[@]}" congestion-control=drop)
[[ -z $live ]] || sink+=(sync=false)
gst=(-m -v "${media[@]}" ! jpegcheck name=camera0 capture-time=true "$(property origin "$origin")" stats-interval=1000000000 !
    zenohsink "${sink[@]}")

heard_more() {
    case $2 in
        *'etting pipeline to PLAYING'*)
            [[ -z $announced ]] || return 0
            announced=yes
            invite
            ;;
        *) ! heard_check "$2" || show_status "$rate frames/s ($frames frames)" ;;
    esac
}

invite() {
    local to=${routers[0]-} with="--key $key$certified"
    if [[ -n $to ]]; then
        say "Sending $input as $key by way of $to; serve it anywhere with: pipelines/edge.sh --router $to $with"
        return
    fi
    say "Sending $input as $key; serve it with: pipelines/edge.sh --connect $(invited_to) $with"
    if only_here; then
        say 'Only this machine can ask for it; --host 0.0.0.0 lets others ask as well.'
    elif ((${#tls[@]} == 0)); then
        say "Whoever can reach port $port can watch; --tls keeps strangers out."
    fi
}

# heard_hello KEY ORIGIN: it came by way of a router, as pictures would.
heard_hello() {
    [[ $2 != "$origin" ]] || return 0
    [[ -n ${rival-} ]] || complain "warning: $2 sends $key, too; edges show the one that was there first."
    rival=$2
    return 1
}

# Says what keeps pictures from getting through a router, once, and when they do again.
passing() {
    ((${#gates[@]})) || return 0
    keep_knocking
    [[ -z $ending$failure ]] || return 0
    if another_first; then
        configure
        begin_again
    fi
    local n reasons=()
    for n in "${!gates[@]}"; do
        if [[ -n ${greeted[n]} ]]; then
            [[ -z $obstacle ]] || say "Pictures get through ${gates[n]}."
            obstacle=
            return
        fi
        case ${states[n]} in
            '') return 0 ;; # nobody knows yet
            open) ((now - knocked[n] > 4000)) || return 0 ;;
        esac
        reasons+=("${gates[n]} ${states[n]/#open/lets us in, but not publish $key: see --publishers there}")
    done
    [[ "${reasons[*]}" != "$obstacle" ]] || return 0
    obstacle=${reasons[*]}
    say "No picture gets through: $(printf '%s; ' "${reasons[@]}")trying again."
}
obstacle=

begin() {
    met=
    launch
}

begin
greet
((${#routers[@]} == 0)) || knock_at "$key/$hello" "${routers[@]}"
follow
outcome 'The video has ended.'
