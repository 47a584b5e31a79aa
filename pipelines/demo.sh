#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# Makes a clip, serves it and watches it, all on this machine.
# shellcheck source=common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"

seconds=10

usage() {
    cat <<USAGE
Usage: pipelines/$me

Makes a moving clip of $seconds seconds, serves it on a free port of this machine
(window TRANSMITIENDO) and watches it (window RECIBIDO), with the frame rate in both.
Without a display the terminal shows the frame rates. It needs no file, no camera
and no network.

  --dry-run  print the gst-launch-1.0 line that makes the clip and exit
  --help     print this text

It stops at the end of the clip, or when you press q in a window or the terminal, or
Ctrl-C.
USAGE
}

for word; do
    common_option "$word"
done

scratch=$(mktemp -d)
input=$scratch/clip.avi
prepare
say "Making a clip of $seconds seconds."
gst=(videotestsrc "num-buffers=$((seconds * 30))" "${test_picture[@]}" ! "${true_colours[@]}" ! jpegenc ! avimux ! filesink "$(property location "$input")")
launch
follow
[[ -z $ending$failure ]] || outcome

# From here on the children are scripts, whose lines are printed.
declare -A rate=() last=()
on_line() {
    last[$1]=$2
    if [[ -t 1 && $2 == *' frames/s '* ]]; then
        rate[$1]=${2%% (*}
        show_status "serve.sh ${rate[serve.sh]-}, watch.sh ${rate[watch.sh]-}"
        return
    fi
    say "$1 | $2"
    [[ $2 =~ ' at '([^ ]+)'; watch it' ]] || return 0
    start watch.sh "$here/watch.sh" --once "${BASH_REMATCH[1]}" </dev/null
}

# If the viewer stops before the end of the clip, the server is not needed any more.
the_end='The demo has ended.'
on_exit() {
    if ((exit_status[$1])); then
        failure="$1 failed"
    elif [[ $1 == watch.sh && ${last[watch.sh]} != 'The stream has ended'* ]]; then
        request_end "$the_end"
    fi
}

start serve.sh "$here/serve.sh" --port 0 --width 800 "$input" </dev/null
follow
outcome "$the_end"
