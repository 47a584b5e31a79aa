#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# Shows a stream of length-prefixed base64 JPEG that a TCP server sends.
# shellcheck source=common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"

usage() {
    cat <<USAGE
Usage: pipelines/$me [OPTION...] [HOST[:PORT]]

Shows the stream that HOST serves (default localhost:$default_port) in a window with
its frame rate. Always shows the newest frame: late frames are dropped.
Waits for a server that is not there yet, or has gone.

$watch_options

Press q in the window or the terminal, or Ctrl-C, to stop.

Examples:
  pipelines/$me 192.168.1.20
  pipelines/$me --delay '[::1]:5000'
USAGE
}

for word; do
    case $word in
        -?*) watch_option "$word" ;;
        *)
            [[ -z $input ]] || usage_error 'one address is enough'
            input=$word
            ;;
    esac
done
receive
watch
