#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# Serves the pictures that origin.sh sends, on a machine of its own.
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

Takes the newest pictures of an origin (pipelines/origin.sh) and serves them to viewers,
who are no load for the origin: over TCP as serve.sh does, and in browsers as web.sh does.
Waits for an origin that is not there yet, or has gone. The first time, Zenoh's plugin is
built: some five minutes.

  --key [NAME=]K  the camera (default $default_key); may be given again. An expression
                such as 'cam/*/jpeg' is every camera that an origin.sh sends under such a
                key, also later, up to 64. NAME is what the page calls it, by default a
                part of K.
  --connect EP  the endpoint of an origin: HOST or HOST:PORT (default localhost:$default_zenoh_port); may
                be given again if the cameras have several
$router_option
  --tcp PORT    serve over TCP (default $default_port); of several cameras each has a port,
                counted from this one, in the order of their appearance
  --web PORT    serve in browsers (default $default_web_port); --tcp or --web alone is only that
  --host H      the address to serve at: 127.0.0.1 (default), only this machine;
                0.0.0.0 or ::, every address it has
  --token T     who watches in a browser has to know it. With --host a random one is made
                unless one is given; '' lets everybody in who opens the page by an IP
                address or a local name such as edge.local.
  --web-tls CERT KEY  encrypt the page, with this certificate chain and its key
$guard_options
$network_options
$common_options

q in the terminal or Ctrl-C ends it.

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
        *) usage_error "'$1' is too much: where the pictures come from is said with --connect or --router" ;;
    esac
done
((${#origins[@]} == 0 || ${#routers[@]} == 0)) || usage_error 'either --connect or --router'
[[ -n $tcp$web ]] || { tcp=$default_port && web=$default_web_port; }
((${#keys[@]})) || keys=("$default_key")
guard_page

# ---- whom it asks -----------------------------------------------------------

if ((${#routers[@]})); then
    mode=client # of one router at a time
    peers=("${routers[@]}")
else
    mode=peer # of every origin
    peers=("${origins[@]:-localhost}")
fi
for n in "${!peers[@]}"; do
    peers[n]=$(endpoint "${peers[n]}")
done
configure() { write_configuration edge "$mode" '' "$(in_turn "${peers[@]}")"; }
configure

# ---- cameras ----------------------------------------------------------------

cameras=()     # their keys
names=()       # what the page calls them
expressions=() # what is still looked for
arrived=()     # when the newest pictures came, or waiting for some began, in milliseconds
present=()     # whether they come: yes, gone, or nothing yet
counted=()     # how many pictures of theirs there were when there were some last
shown=()       # what the last line of the terminal says of each
declare -A appeared=() # when a camera has begun to say hello, by its key
declare -A known=() # when a camera has last said hello, by its key
most_cameras=64
added= # when one has last been found that is not served yet

# name_of KEY: the last of its names that is not just what it is.
name_of() {
    local key=${1%/jpeg}
    printf '%s' "${key##*/}"
}

# add_camera KEY [NAME]
add_camera() {
    local name=${2:-$(name_of "$1")} other
    for other in "${names[@]}"; do
        [[ $name != "$other" ]] || name=$1
    done
    cameras+=("$1")
    names+=("$name")
    look_at_clock
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

# One has no name: those who watch it over Socket.IO get strings, as from web.sh.
nameless() {
    ((${#keys[@]} == 1 && ${#expressions[@]} == 0)) && [[ ${keys[0]} != *=* ]]
}

# matches KEY EXPRESSION, in Zenoh's way.
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
    local n doors=0
    met=
    [[ -z $tcp ]] || ((++doors))
    [[ -z $web ]] || ((++doors))
    gst=(-m -v)
    look_at_clock
    for n in "${!cameras[@]}"; do
        arrived[n]=$now
        counted[n]=0
        gst+=(zenohsrc session-group=edge "config=$written" "$(property key-expr "${cameras[n]}")" apply-buffer-meta=false !
            jpegcheck "name=camera$n" stats-interval=1000000000 ! "${newest[@]}")
        ((doors == 1)) || gst+=(! tee "name=pictures$n")
        if [[ -n $tcp ]]; then
            ((doors == 1)) || gst+=("pictures$n.")
            gst+=(! b64jpegserversink "name=tcp$n" "$(property host "$host")" "port=$((tcp + n))" sync=false "queue-frames=$live_queue")
        fi
        if [[ -n $web ]]; then
            ((doors == 1)) || gst+=("pictures$n.")
            gst+=(! socketioserversink "name=web$n" "$(property host "$host")" "port=$web" sync=false async=false "${guards[@]}")
            nameless || gst+=("$(property camera "${names[n]}")")
        fi
    done
    launch
}

said=() # what has been announced, by the name of the door
heard_door() {
    local door n at
    [[ $1 =~ ServerSink:(tcp|web)([0-9]+):\ current-port\ =\ ([1-9][0-9]*) ]] || return 1
    door=${BASH_REMATCH[1]}
    n=${BASH_REMATCH[2]}
    at=$(address "$(reachable)" "${BASH_REMATCH[3]}")
    [[ $door == tcp || $n == 0 ]] || return 0 # all have the same page
    [[ " ${said[*]} " != *" $door$n "* ]] || return 0
    said+=("$door$n")
    if [[ $door == tcp ]]; then
        say "Serving ${cameras[n]} at $at; watch it with: pipelines/watch.sh $at"
    else
        say "Serving the page at $scheme://$at/${query:+#$query}; open it in a browser."
    fi
}

# ---- what comes -------------------------------------------------------------

# heard_hello KEY ORIGIN: an origin is there. What it says is a hint: nothing but pictures that
# come with the key itself is served.
heard_hello() {
    local expression
    [[ -n ${known[$1]-} ]] || has_room || return 0
    is_there "$1" || appeared[$1]=$now
    known[$1]=$now
    [[ " ${cameras[*]} " != *" $1 "* ]] || return 0
    for expression in "${expressions[@]}"; do
        if matches "$1" "$expression" && may_add "$1"; then
            add_camera "$1"
            added=$now
            return
        fi
    done
}

# Whether there is room for one more camera that says hello.
has_room() {
    local key
    ((${#known[@]} < 1000)) && return
    for key in "${!known[@]}"; do
        is_there "$key" || unset "known[$key]" "appeared[$key]"
    done
    ((${#known[@]} < 1000))
}

# may_add CAMERA: whether there is a port for it, too.
may_add() {
    local at=$((tcp + ${#cameras[@]}))
    ((${#cameras[@]} < most_cameras)) && [[ -z $tcp || $at != "$web" ]] && ((at < 65536)) && return
    [[ -n $full ]] || complain "warning: $1 and what comes after it is not served: there is no port for it, or $most_cameras cameras are."
    full=yes
    return 1
}
full=

heard_camera() {
    local camera frames rate delay from=''
    heard_check "$1" || return
    # It also tells when only others are dropped.
    ((frames > counted[camera])) || return 0
    counted[camera]=$frames
    look_at_clock
    case ${present[camera]-} in
        yes) ;;
        gone) say "${cameras[camera]} is back${from:+, from $from}." ;;
        *) say "${cameras[camera]} comes${from:+ from $from}." ;;
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

# Says which cameras do not come, and why, when that changes for one of them.
declare -A told=() # how a camera was said to be, unless it comes
too_long=4000      # without pictures, in milliseconds
passing() {
    local n why='' since gone=() never=() mute=()
    keep_knocking
    [[ -z $ending$failure ]] || return 0
    if [[ $mode == client ]] && another_first; then
        configure
        begin_again
    elif [[ -n $added ]] && ((now - added > 1500)); then
        added=
        if [[ -v pids[gst-launch-1.0] ]]; then
            begin_again
        else
            begin
        fi
    fi
    for n in "${!cameras[@]}"; do
        if ((now - arrived[n] <= too_long)); then
            [[ ${present[n]-} != yes ]] || told[.${cameras[n]}]=
            continue
        fi
        [[ ${present[n]-} != yes ]] || unset "shown[$n]"
        present[n]=${present[n]-never}
        present[n]=${present[n]/#yes/gone}
        if is_there "${cameras[n]}"; then
            # Its pictures may be on their way, or it may just have gone.
            since=${appeared[${cameras[n]}]}
            ((now - since > too_long && now - arrived[n] > 2 * too_long)) && news "${cameras[n]}" mute && mute+=("${cameras[n]}")
        elif find_reason && news "${cameras[n]}" "${present[n]} ${states[*]}"; then
            [[ ${present[n]} == gone ]] && gone+=("${cameras[n]}") || never+=("${cameras[n]}")
        fi
    done
    if ((${#cameras[@]} == 0 && now - began > too_long)) && find_reason && news '' "${states[*]}"; then
        never=("${expressions[@]}")
    fi
    ((${#gone[@]} == 0)) || say "$(listed "${gone[@]}"): no more pictures: $why; waiting."
    ((${#never[@]} == 0)) || say "$(listed "${never[@]}"): no pictures: $why; waiting."
    ((${#mute[@]} == 0)) || say "$(listed "${mute[@]}"): no pictures, though the origin is there; waiting."
}

# news CAMERA HOW: whether it is new that it is so.
news() {
    [[ ${told[.$1]-} != "$2" ]] && told[.$1]=$2
}

# is_there CAMERA: whether somebody says that it is; its last hello is younger than its last
# pictures by a second at most.
is_there() {
    # Bash before 5.2 runs what stands in a key within [[ -v ]] and (( )).
    local since=${known[$1]-}
    [[ -n $since ]] && ((now - since < 3000))
}

# Sets `why` to the reason, as far as it can be seen from here; fails while nobody knows.
find_reason() {
    local n key there=() parts=() open=()
    [[ -z $why ]] || return 0
    for n in "${!gates[@]}"; do
        case ${states[n]} in
            '') return 1 ;;
            open) ((now - knocked[n] > too_long)) && open+=("${gates[n]}") || return 1 ;;
            *) parts+=("${gates[n]} ${states[n]}") ;;
        esac
    done
    for key in "${!known[@]}"; do
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

heard_more() {
    heard_camera "$2" || heard_door "$2" || heard_viewers "$2" || heard_clients "$2" || :
}

patience=300 # zenohsrc does not end before a picture comes
prepare
look_at_clock
began=$now
((${#cameras[@]} == 0)) || begin
[[ -z $dry_run ]] || usage_error "--dry-run cannot know the cameras of $(listed "${expressions[@]}")"
knock_at "**/$hello" "${peers[@]}"
follow
outcome 'The end.'
