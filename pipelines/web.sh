#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# Serves videos to browsers.
# shellcheck source=common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"

host=127.0.0.1
port=$default_web_port

usage() {
    cat <<USAGE
Usage: pipelines/$me [OPTION...] [NAME=]SOURCE...

Serves a page that shows the newest frames of every SOURCE, and prints the URL to open
in a browser. The same port serves other programs: with Socket.IO events, /stream.mjpg
and /snapshot.jpg. With several sources, each is a camera with a NAME, by default that
of its file or device; ?camera=NAME selects one.

$source_kinds

A file plays at its own rate, with or without viewers, and its last frame stays visible.
When every source has ended, the server ends.

$source_options
  --host H      the address to listen on: 127.0.0.1 (default), only this machine;
                0.0.0.0 or ::, all addresses
  --port P      the port (default $default_web_port); with one source, 0 picks a free one
  --token T     the token that viewers need. With --host the default is a random token;
                '' allows everybody who opens the page by an IP address or a local name
                such as camera.local. Users of this machine can see T in the list of
                processes.
  --tls CERT KEY  encrypt with this certificate chain and key, in PEM format
$guard_options
$listen_options
$common_options

Press q in the terminal or Ctrl-C to stop.

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
((port || ${#sources[@]} == 1)) || usage_error '--port 0 is for one source: several sources have to be given the same port'

guard_page
server=("$(property host "$host")" "port=$port" "${guards[@]}")
[[ -z $clients ]] || server+=("max-clients=$clients")

# name_of SOURCE: prints the default name of its camera.
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
loops=() # by source number: the address of the server of a file that is looped
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

# Serves all cameras in one pipeline.
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
        # A name, so that an error can be attributed to its source.
        ((${#inputs[@]} == 1)) || media=("${media[0]}" "name=source$n" "${media[@]:1}")
        gst+=("${media[@]}" ! socketioserversink "${server[@]}")
        [[ -z ${names[n]} ]] || gst+=("$(property camera "${names[n]}")")
        # A live source must not wait for the others.
        [[ -z $live ]] || gst+=(sync=false async=false)
    done
    printf -v input '%s, ' "${inputs[@]}"
    input=${input%, }
    launch
}

# Each looped file has a serve.sh of its own: beside other sources in one pipeline it could not
# restart.
loop_all() {
    local n serve
    for n in "${!loops[@]}"; do
        serve=("$here/serve.sh" --loop --no-preview "${source_args[@]}" "${inputs[n]}")
        if [[ -n $dry_run ]]; then
            loops[n]=127.0.0.1:$((default_port + n))
            "${serve[@]}" --dry-run --port "${loops[n]#*:}"
        else
            start "loop $n" "${serve[@]}" --port 0 </dev/null
        fi
    done
}

# handle_loop NUMBER LINE: a line of the serve.sh of a looped file.
handle_loop() {
    case $2 in
        GST_PLUGIN_PATH=*) say "$2" ;;
        *' at '*'; watch it'*)
            loops[$1]=${2##* at }
            loops[$1]=${loops[$1]%%;*}
            # All of them have an address now.
            ((--awaited)) || serve_all
            ;;
        *'serve.sh: warning: '*) complain "${2#*: }" ;;
        *'serve.sh: '*) failure=${failure:-${2#*: }} ;;
    esac
}

handle_other_line() {
    if [[ $1 == loop* ]]; then
        handle_loop "${1#loop }" "$2"
    else
        handle_server "$2" || handle_viewers "$2" || :
    fi
}

prepare
loop_all
awaited=${#pids[@]}
((awaited)) || serve_all
follow
outcome 'Every video has ended.'
