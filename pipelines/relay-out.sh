#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# Sends a video to a Socket.IO server, which forwards it.
# shellcheck source=common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"

url=

usage() {
    cat <<USAGE
Usage: pipelines/$me [OPTION...] URL SOURCE

Connects to the Socket.IO server at URL, such as http://localhost:5000 (Flask-SocketIO,
python-socketio, Node ...), and emits each frame of SOURCE as a base64 string. Waits
for a server that is not there yet, or has gone, and drops the frames meanwhile.

$source_kinds

A file plays once, at its own rate.

$source_options
$relay_options
  --binary      emit binary JPEGs instead of base64: a quarter less data
$common_options

Press q in the terminal or Ctrl-C to stop.

Example:
  pipelines/$me --camera door https://relay.example.org /dev/video0
USAGE
}

split_options "$@"
set -- "${words[@]}"
while (($#)); do
    case $1 in
        --binary) relay+=(payload=binary) && shift ;;
        -?*) source_option "$@" || relay_option "$@" || common_option "$@"; shift "$taken" ;;
        *)
            if [[ -z $url ]]; then
                url=$1
            else
                [[ -z $input && -n $1 ]] || usage_error 'one URL and one SOURCE are needed'
                input=$1
            fi
            shift
            ;;
    esac
done
[[ -n $input ]] || usage_error 'one URL and one SOURCE are needed'

prepare
find_media
relay_to "$url"
# For receivers that measure the delay; others ignore it.
relay+=(capture-time=true)
[[ -z $live ]] || relay+=(sync=false)
gst=(-m -v "${media[@]}" ! socketioclientsink "${relay[@]}")
connects=ClientSink
working_state=connected
working_message="Sending $input to $peer."
handle_other_line() { handle_connection "$2" || :; }
launch
follow
outcome 'The video has ended.'
