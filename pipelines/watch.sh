#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# Shows a stream of length-prefixed base64 JPEG that somebody serves over TCP.
# shellcheck source=common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"

usage() {
    cat <<USAGE
Usage: pipelines/$me [OPTION...] [HOST[:PORT]]

Shows the stream that HOST serves (default localhost:$default_port) in a window with
its frame rate. Always the newest frame: what cannot be shown in time is dropped.
Waits for a server that is not there yet, or has gone.

$watch_options

A window or the terminal ends it with q; so does Ctrl-C.

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
