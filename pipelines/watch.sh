#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# Shows a stream of length-prefixed base64 JPEG that somebody serves over TCP.
# shellcheck source=common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"

no_window=

usage() {
    cat <<USAGE
Usage: pipelines/$me [--no-display] [HOST[:PORT]]

Shows the stream that HOST serves (default localhost:$default_port) in a window with
its frame rate. Always the newest frame: what cannot be shown in time is dropped.

  --no-display  no window; every frame is decoded, and the frame rate shown in
                the terminal
  --dry-run     print the gst-launch-1.0 line and do nothing else
  --help        this text

A window or the terminal ends it with q; so does Ctrl-C.

Examples:
  pipelines/$me 192.168.1.20
  pipelines/$me '[::1]:5000'
USAGE
}

for word; do
    case $word in
        --no-display) no_window=yes ;;
        --dry-run) dry_run=yes ;;
        --help) usage && exit ;;
        -?*) usage_error "there is no option $word" ;;
        *)
            [[ -z $input ]] || usage_error 'one address is enough'
            input=$word
            ;;
    esac
done
input=${input:-localhost}
parse_address "$input"

prepare
if [[ -z $no_window ]] && ! have_display; then
    say "No window: $no_display."
    no_window=yes
fi
gst=(-v tcpclientsrc "$(property host "$host")" "port=$port" ! b64jpegdepay quit-key=q)
if [[ -z $no_window ]]; then
    window RECIBIDO false
    gst+=(! "${newest[@]}" ! "${show[@]}")
else
    meter false
    gst+=(! jpegdec ! "${show[@]}")
fi
launch
follow
outcome "The stream has ended: the server closed it${or_key:-}."
