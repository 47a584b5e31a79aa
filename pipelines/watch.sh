#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# Shows a stream of length-prefixed base64 JPEG that somebody serves over TCP.
# shellcheck source=common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"

no_window=
delay=

usage() {
    cat <<USAGE
Usage: pipelines/$me [OPTION...] [HOST[:PORT]]

Shows the stream that HOST serves (default localhost:$default_port) in a window with
its frame rate. Always the newest frame: what cannot be shown in time is dropped.
Waits for a server that is not there yet, or has gone.

  --delay       print how long the pictures take from the camera to this program:
                the median and the 99th percentile of the newest ones. Between two
                machines it is as right as their clocks are. The server has to
                stamp its pictures, as pipelines/serve.sh does; those of a
                recording are as old as it is.
  --no-display  no window; every frame is decoded, and the frame rate shown in
                the terminal
$receiver_options

A window or the terminal ends it with q; so does Ctrl-C.

Examples:
  pipelines/$me 192.168.1.20
  pipelines/$me --delay '[::1]:5000'
USAGE
}

for word; do
    case $word in
        --delay) delay=yes ;;
        --no-display) no_window=yes ;;
        -?*) receiver_option "$word" ;;
        *)
            [[ -z $input ]] || usage_error 'one address is enough'
            input=$word
            ;;
    esac
done

receive
prepare
if [[ -z $no_window ]] && ! have_display; then
    say "No window: $no_display."
    no_window=yes
fi
[[ -z $delay ]] || source+=(stats-interval=1000000000)
gst=(-m -v "${source[@]}" quit-key=q)
if [[ -z $no_window ]]; then
    window RECIBIDO
    gst+=(! "${newest[@]}" ! "${show[@]}")
else
    gst+=(! jpegdec ! "${meter[@]}")
fi
hello="Watching $input."
heard_more() { heard_receiver "$2"; }
launch
follow
received
