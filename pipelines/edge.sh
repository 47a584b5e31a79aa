#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# Serves the video of origin.sh from another machine.
# shellcheck source=common.sh source-path=SCRIPTDIR
. "$(dirname "$(readlink -f "$0")")/common.sh"
# shellcheck source=zenoh/common.sh
. "$here/zenoh/common.sh"

tcp=
web=
keys=()
origins=()

usage() {
    cat <<USAGE
Usage: pipelines/$me [OPTION...]

Receives the newest frames of an origin (pipelines/origin.sh) and serves them to viewers,
who put no load on the origin: over TCP like serve.sh, and in browsers like web.sh. Waits
for an origin that is not there yet, or has gone. The first run builds Zenoh's plugin, in
some five minutes.

  --key [NAME=]K  the key of the camera (default $default_key); may be repeated. An
                expression such as 'cam/*/jpeg' selects every origin.sh with a matching
                key, also one that starts later, up to 64. The page shows NAME, by
                default a part of K.
  --connect EP  the endpoint of an origin: HOST or HOST:PORT (default localhost:$default_zenoh_port); may
                be repeated for several origins
$router_option
  --tcp PORT    serve over TCP (default $default_port); each further camera has the next port,
                in the order of their appearance
  --web PORT    serve browsers (default $default_web_port); with only one of --tcp and --web, the other
                is off
  --host H      the address to listen on: 127.0.0.1 (default), only this machine;
                0.0.0.0 or ::, all addresses
  --token T     the token that viewers in browsers need. With --host the default is a
                random token; '' allows everybody who opens the page by an IP address or
                a local name such as edge.local.
  --web-tls CERT KEY  encrypt the page with this certificate chain and key
$guard_options
$network_options
$common_options

Press q in the terminal or Ctrl-C to stop.

Examples:
  pipelines/$me --connect 192.168.1.20 --key cam/door/jpeg --host 0.0.0.0
  pipelines/$me --router relay1.example.org --router relay2.example.org --key 'cam/*/jpeg' --web 8080
USAGE
}

split_options "$@"
set -- "${words[@]}"
while (($#)); do
    case $1 in
        --key) value_of "$@" && keys+=("$value") && shift 2 ;;
        --connect) value_of "$@" && origins+=("$value") && shift 2 ;;
        --tcp) value_of "$@" && number --tcp "$value" 1 65535 && tcp=$value && shift 2 ;;
        --web) value_of "$@" && number --web "$value" 1 65535 && web=$value && shift 2 ;;
        --host) value_of "$@" && host=$value && shift 2 ;;
        --token) value_of "$@" && token=$value && shift 2 ;;
        --web-tls)
            (($# > 2)) || usage_error '--web-tls needs a certificate and its key'
            certificate=("$2" "$3")
            shift 3
            ;;
        -?*) network_option "$@" || guard_option "$@" || common_option "$@"; shift "$taken" ;;
        *) usage_error "unexpected argument '$1': name an origin with --connect or --router" ;;
    esac
done
((${#origins[@]} == 0 || ${#routers[@]} == 0)) || usage_error 'give either --connect or --router'
[[ -n $tcp$web ]] || { tcp=$default_port && web=$default_web_port; }
((${#keys[@]})) || keys=("$default_key")
guard_page

# ---- connection -----------------------------------------------------------

if ((${#routers[@]})); then
    mode=client # connects to one router at a time
    peers=("${routers[@]}")
else
    mode=peer # connects to every origin
    peers=("${origins[@]:-localhost}")
fi
for n in "${!peers[@]}"; do
    peers[n]=$(endpoint "${peers[n]}")
done
configure() { write_configuration edge "$mode" '' "$(in_turn "${peers[@]}")"; }
configure

# ---- cameras ----------------------------------------------------------------

cameras=()     # their keys
names=()       # their names on the page
expressions=() # key expressions, which may match further cameras
arrived=()     # time in ms of the newest frames, or when waiting for them began
present=()     # whether frames arrive: yes; gone: not any more; never or empty: not yet
counted=()     # the number of frames when some arrived last
shown=()       # each camera's part of the status line
declare -A first_hello=() # time in ms of a camera's first hello of a series, by key
declare -A last_hello=()  # time in ms of a camera's last hello, by key
most_cameras=64
added= # when a camera was last added that is not served yet

# name_of KEY: prints its last part, except /jpeg.
name_of() {
    local key=${1%/jpeg}
    printf '%s' "${key##*/}"
}

# add_camera KEY [NAME]: NAME is replaced by KEY if it is taken.
add_camera() {
    local name=${2:-$(name_of "$1")} other
    for other in "${names[@]}"; do
        [[ $name != "$other" ]] || name=$1
    done
    cameras+=("$1")
    names+=("$name")
    read_clock
    arrived+=("$now")
}

for key in "${keys[@]}"; do
    name=
    if [[ $key =~ ^([^/=]+)=(.+)$ ]]; then
        name=${BASH_REMATCH[1]}
        key=${BASH_REMATCH[2]}
    fi
    check_key "$key" expression
    if [[ $key == *\** ]]; then
        [[ -z $name ]] || usage_error "'$name' cannot be the name of every camera in '$key'"
        expressions+=("$key")
    else
        add_camera "$key" "$name"
    fi
done

# Succeeds for a single camera without NAME: its Socket.IO events carry strings, as those of
# web.sh.
nameless() {
    ((${#keys[@]} == 1 && ${#expressions[@]} == 0)) && [[ ${keys[0]} != *=* ]]
}

# matches KEY EXPRESSION: succeeds if it does by Zenoh's rules.
matches() {
    local pattern=/$2/
    pattern=${pattern//./\\.}
    pattern=${pattern//+/\\+}
    pattern=${pattern//\/\*\*/(\/[^\/]+)@}
    pattern=${pattern//\*/[^\/]+}
    [[ /$1/ =~ ^${pattern//@/\*}$ ]] # no key has an @
}

# ---- serving ----------------------------------------------------------------

begin() {
    local n outputs=0
    connected=
    [[ -z $tcp ]] || ((++outputs))
    [[ -z $web ]] || ((++outputs))
    gst=(-m -v)
    read_clock
    for n in "${!cameras[@]}"; do
        arrived[n]=$now
        counted[n]=0
        gst+=(zenohsrc session-group=edge "config=$written" "$(property key-expr "${cameras[n]}")" apply-buffer-meta=false !
            jpegcheck "name=camera$n" stats-interval=1000000000 ! "${newest[@]}")
        ((outputs == 1)) || gst+=(! tee "name=pictures$n")
        if [[ -n $tcp ]]; then
            ((outputs == 1)) || gst+=("pictures$n.")
            gst+=(! b64jpegserversink "name=tcp$n" "$(property host "$host")" "port=$((tcp + n))" sync=false "queue-frames=$live_queue")
        fi
        if [[ -n $web ]]; then
            ((outputs == 1)) || gst+=("pictures$n.")
            gst+=(! socketioserversink "name=web$n" "$(property host "$host")" "port=$web" sync=false async=false "${guards[@]}")
            nameless || gst+=("$(property camera "${names[n]}")")
        fi
    done
    launch
}

announced_servers=() # the servers whose address has been printed
handle_server_port() {
    local kind n at
    [[ $1 =~ ServerSink:(tcp|web)([0-9]+):\ current-port\ =\ ([1-9][0-9]*) ]] || return 1
    kind=${BASH_REMATCH[1]}
    n=${BASH_REMATCH[2]}
    at=$(address "$(public_host)" "${BASH_REMATCH[3]}")
    [[ $kind == tcp || $n == 0 ]] || return 0 # all cameras share one page
    [[ " ${announced_servers[*]} " != *" $kind$n "* ]] || return 0
    announced_servers+=("$kind$n")
    if [[ $kind == tcp ]]; then
        say "Serving ${cameras[n]} at $at; watch it with: pipelines/watch.sh $at"
    else
        say "Serving the page at $scheme://$at/${query:+#$query}; open it in a browser."
    fi
}

# ---- events -------------------------------------------------------------

# handle_hello KEY ORIGIN: an origin announces itself. Its hello is only a hint: an edge serves
# only frames that are published with the key itself.
handle_hello() {
    local expression
    [[ -n ${last_hello[$1]-} ]] || has_room || return 0
    is_there "$1" || first_hello[$1]=$now
    last_hello[$1]=$now
    [[ " ${cameras[*]} " != *" $1 "* ]] || return 0
    for expression in "${expressions[@]}"; do
        if matches "$1" "$expression" && may_add "$1"; then
            add_camera "$1"
            added=$now
            return
        fi
    done
}

# Succeeds if one more camera can be remembered; forgets those without a recent hello if not.
has_room() {
    local key
    ((${#last_hello[@]} < 1000)) && return
    for key in "${!last_hello[@]}"; do
        is_there "$key" || unset "last_hello[$key]" "first_hello[$key]"
    done
    ((${#last_hello[@]} < 1000))
}

# may_add CAMERA: succeeds if the limit allows it and there is a port for it.
may_add() {
    local at=$((tcp + ${#cameras[@]}))
    ((${#cameras[@]} < most_cameras)) && [[ -z $tcp || $at != "$web" ]] && ((at < 65536)) && return
    [[ -n $full ]] || complain "warning: $1 and later cameras are not served: there is no port left, or the limit of $most_cameras cameras is reached."
    full=yes
    return 1
}
full=

handle_camera() {
    local camera frames rate delay from=''
    handle_check "$1" || return
    # Statistics are also posted when only frames of other senders are dropped.
    ((frames > counted[camera])) || return 0
    counted[camera]=$frames
    read_clock
    case ${present[camera]-} in
        yes) ;;
        gone) say "${cameras[camera]} is back${from:+, from $from}." ;;
        *) say "Receiving ${cameras[camera]}${from:+ from $from}." ;;
    esac
    arrived[camera]=$now
    present[camera]=yes
    if ((${#cameras[@]} == 1)); then
        show_status "$rate frames/s ($frames frames)${delay:+, delay $delay}"
    else
        shown[camera]="${names[camera]} $rate"
        show_status "$(listed "${shown[@]}") frames/s"
    fi
}

# Reports which cameras send no frames, and why, when that changes for one of them.
declare -A reported=() # the state that was reported last, by camera; empty while frames arrive
frame_timeout=4000     # in milliseconds
on_tick() {
    local n why='' since gone=() never=() silent=()
    restart_probes
    [[ -z $ending$failure ]] || return 0
    if [[ $mode == client ]] && prefer_open_router; then
        configure
        restart_pipeline
    elif [[ -n $added ]] && ((now - added > 1500)); then
        added=
        if [[ -v pids[gst-launch-1.0] ]]; then
            restart_pipeline
        else
            begin
        fi
    fi
    for n in "${!cameras[@]}"; do
        if ((now - arrived[n] <= frame_timeout)); then
            [[ ${present[n]-} != yes ]] || reported[.${cameras[n]}]=
            continue
        fi
        [[ ${present[n]-} != yes ]] || unset "shown[$n]"
        present[n]=${present[n]-never}
        present[n]=${present[n]/#yes/gone}
        if is_there "${cameras[n]}"; then
            # Its frames may be on their way, or it may just have stopped.
            since=${first_hello[${cameras[n]}]}
            ((now - since > frame_timeout && now - arrived[n] > 2 * frame_timeout)) && is_news "${cameras[n]}" silent && silent+=("${cameras[n]}")
        elif find_reason && is_news "${cameras[n]}" "${present[n]} ${states[*]}"; then
            [[ ${present[n]} == gone ]] && gone+=("${cameras[n]}") || never+=("${cameras[n]}")
        fi
    done
    if ((${#cameras[@]} == 0 && now - began > frame_timeout)) && find_reason && is_news '' "${states[*]}"; then
        never=("${expressions[@]}")
    fi
    ((${#gone[@]} == 0)) || say "$(listed "${gone[@]}"): no more frames: $why; waiting."
    ((${#never[@]} == 0)) || say "$(listed "${never[@]}"): no frames: $why; waiting."
    ((${#silent[@]} == 0)) || say "$(listed "${silent[@]}"): no frames, although the origin is there; waiting."
}

# is_news CAMERA STATE: succeeds, and remembers the state, if it differs from the last one.
is_news() {
    [[ ${reported[.$1]-} != "$2" ]] && reported[.$1]=$2
}

# is_there CAMERA: succeeds if it has said hello in the last 3 s. Hellos come once a second, so
# its last one is at most a second newer than its last frame.
is_there() {
    # Not [[ -v ]] or (( )): before 5.2 bash would run code in the key.
    local since=${last_hello[$1]-}
    [[ -n $since ]] && ((now - since < 3000))
}

# Sets `why` to the reason, as far as it is visible here; fails while it is unknown.
find_reason() {
    local n key there=() parts=() open=()
    [[ -z $why ]] || return 0
    for n in "${!endpoints[@]}"; do
        case ${states[n]} in
            '') return 1 ;;
            open) ((now - probed_at[n] > frame_timeout)) && open+=("${endpoints[n]}") || return 1 ;;
            *) parts+=("${endpoints[n]} ${states[n]}") ;;
        esac
    done
    for key in "${!last_hello[@]}"; do
        ! is_there "$key" || there+=("$key")
    done
    if ((${#there[@]})); then
        parts+=("the cameras there are $(listed "${there[@]}")")
    elif ((${#open[@]})); then
        parts+=("$(listed "${open[@]}") has no camera")
    fi
    printf -v why '%s; ' "${parts[@]}"
    why=${why%; }
}

handle_other_line() {
    handle_camera "$2" || handle_server_port "$2" || handle_viewers "$2" || handle_clients "$2" || :
}

grace_period=300 # zenohsrc does not end on SIGINT until a frame arrives
prepare
read_clock
began=$now
((${#cameras[@]} == 0)) || begin
[[ -z $dry_run ]] || usage_error "--dry-run cannot know the cameras of $(listed "${expressions[@]}")"
start_probes "**/$hello" "${peers[@]}"
follow
outcome 'The edge has ended.'
