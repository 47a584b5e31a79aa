#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# Shows the frames that a Socket.IO server sends.
# shellcheck source=common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"

usage() {
    cat <<USAGE
Usage: pipelines/$me [OPTION...] URL

Connects to the Socket.IO server at URL, such as http://localhost:5000 (Flask-SocketIO,
python-socketio, Node, pipelines/web.sh ...), and shows the frames of an event in a window
with their frame rate, always the newest: base64 strings, data: URLs or binary data. Waits for
a server that is not there yet, or has gone.

$relay_options
$watch_options

Press q in the window or the terminal, or Ctrl-C, to stop.

Example:
  pipelines/$me --camera door https://relay.example.org
USAGE
}

split_options "$@"
set -- "${words[@]}"
while (($#)); do
    case $1 in
        -?*) relay_option "$@" || watch_option "$@"; shift "$taken" ;;
        *)
            [[ -z $input && -n $1 ]] || usage_error 'exactly one URL is needed'
            input=$1
            shift
            ;;
    esac
done
[[ -n $input ]] || usage_error 'exactly one URL is needed'

relay_to "$input"
input=$peer
source=(socketioclientsrc "${relay[@]}")
[[ -z $once ]] || source+=(reconnect=false)
connected_message="Connected to $peer; waiting for frames."
watch
