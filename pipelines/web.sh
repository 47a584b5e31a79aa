#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# Shows videos in every browser that can reach this machine.
# shellcheck source=common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"

host=127.0.0.1
port=$default_web_port

usage() {
    cat <<USAGE
Usage: pipelines/$me [OPTION...] [NAME=]SOURCE...

Serves a page that shows the newest pictures of every SOURCE, and prints what to open
in a browser. The same port has them for other programs: as Socket.IO events, as
/stream.mjpg and as /snapshot.jpg. Of several sources each is a camera with a NAME,
by default that of its file or device; ?camera=NAME asks for one of them.

$source_kinds

A file plays at its own rate, whether somebody watches or not, and leaves its last picture
there. When no source goes on, the server ends.

$source_options
  --host H      the address to listen on: 127.0.0.1 (default), only this machine;
                0.0.0.0 or ::, every address it has
  --port P      the port (default $default_web_port); with one source, 0 picks a free one
  --token T     who watches has to know it. With --host a random one is made unless one
                is given; '' lets everybody in who opens the page by an IP address or a
                local name such as camera.local. Whoever has an account on this machine
                can see it among the processes.
  --tls CERT KEY  encrypt, with this certificate chain and its key, in PEM format
$guard_options
$listen_options
$common_options

q in the terminal or Ctrl-C ends it.

Examples:
  pipelines/$me --host 0.0.0.0 camera
  pipelines/$me door=/dev/video0 'garden=rtsp://192.168.1.20/live'
USAGE
}

sources=()
split_options "$@"
set -- "${words[@]}"
while (($#)); do
    case $1 in
        --token) value_of "$@" && token=$value && shift 2 ;;
        --tls)
            (($# > 2)) || usage_error '--tls needs a certificate and its key'
            certificate=("$2" "$3")
            shift 3
            ;;
        -?*) source_option "$@" || guard_option "$@" || listen_option "$@" || common_option "$@"; shift "$taken" ;;
        *) sources+=("$1") && shift ;;
    esac
done
((${#sources[@]})) || usage_error 'at least one SOURCE is needed'
((port || ${#sources[@]} == 1)) || usage_error '--port 0 is for one source: several need a port that all of them know'

guard_page
server=("$(property host "$host")" "port=$port" "${guards[@]}")
[[ -z $clients ]] || server+=("max-clients=$clients")

# name_of SOURCE: what people would call it.
name_of() {
    local name=$1
    if [[ $name == *://* ]]; then
        name=${name#*://}
        name=${name%%/*}
        name=${name##*@}
    else
        name=${name##*/}
        name=${name%.*}
    fi
    printf '%s' "${name:-$1}"
}

names=()
loops=() # the files that begin again, by number
for input in "${sources[@]}"; do
    name=
    if [[ $input =~ ^([^/:=]+)=(.+)$ ]]; then
        name=${BASH_REMATCH[1]}
        input=${BASH_REMATCH[2]}
    elif ((${#sources[@]} > 1)); then
        name=$(name_of "$input")
    fi
    for other in "${names[@]}"; do
        [[ $name != "$other" ]] || usage_error "two cameras are named '$name': write NAME=$input"
    done
    [[ -z $loop ]] || is_live || loops[${#inputs[@]}]=
    inputs+=("$input")
    names+=("$name")
done
[[ -z $loop ]] || ((${#loops[@]})) || usage_error "--loop is for files; $input is live"

invite() {
    say "Serving $input; open $scheme://$1/${query:+#$query} in a browser."
    say "Other programs take $scheme://$1/stream.mjpg${query:+?$query} or $scheme://$1/snapshot.jpg${query:+?$query}."
}

# Serves what every camera shows.
serve_all() {
    local n
    gst=(-m -v)
    for n in "${!inputs[@]}"; do
        input=${inputs[n]}
        if [[ -v loops[n] ]]; then
            media=(b64jpegclientsrc "uri=b64jpeg://${loops[n]}" ! "${newest[@]}")
            live=yes
        else
            find_media
        fi
        # With a name that tells the one that fails from the others.
        ((${#inputs[@]} == 1)) || media=("${media[0]}" "name=source$n" "${media[@]:1}")
        gst+=("${media[@]}" ! socketioserversink "${server[@]}")
        [[ -z ${names[n]} ]] || gst+=("$(property camera "${names[n]}")")
        # What is live shows what there is, and waits for no other source.
        [[ -z $live ]] || gst+=(sync=false async=false)
    done
    printf -v input '%s, ' "${inputs[@]}"
    input=${input%, }
    launch
}

# A file that begins again has a server of its own: beside others in one pipeline it cannot.
loop_all() {
    local n serve
    for n in "${!loops[@]}"; do
        serve=("$here/serve.sh" --loop --no-preview "${as_asked[@]}" "${inputs[n]}")
        if [[ -n $dry_run ]]; then
            loops[n]=127.0.0.1:$((default_port + n))
            "${serve[@]}" --dry-run --port "${loops[n]#*:}"
        else
            start "loop $n" "${serve[@]}" --port 0 </dev/null
        fi
    done
}

# heard_loop NUMBER LINE
heard_loop() {
    case $2 in
        GST_PLUGIN_PATH=*) say "$2" ;;
        *' at '*'; watch it'*)
            loops[$1]=${2##* at }
            loops[$1]=${loops[$1]%%;*}
            # The last one.
            ((--awaited)) || serve_all
            ;;
        *'serve.sh: warning: '*) complain "${2#*: }" ;;
        *'serve.sh: '*) failure=${failure:-${2#*: }} ;;
    esac
}

heard_more() {
    if [[ $1 == loop* ]]; then
        heard_loop "${1#loop }" "$2"
    else
        heard_server "$2" || heard_viewers "$2" || :
    fi
}

prepare
loop_all
awaited=${#pids[@]}
((awaited)) || serve_all
follow
outcome 'Every video has ended.'
