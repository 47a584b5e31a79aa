#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# Serves a video over TCP: each frame is a length, followed by a JPEG in base64.
# shellcheck source=common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"

host=127.0.0.1
port=$default_port

usage() {
    cat <<USAGE
Usage: pipelines/$me [OPTION...] SOURCE

Serves SOURCE to any number of viewers and shows in a window what they receive.

$source_kinds

A file starts when the first viewer connects, plays at its own rate, and ends when
every viewer has received everything. For a viewer that is more than $file_queue frames
late, whole frames are dropped; with a live source, more than $live_queue.

$source_options
$server_options

Press q in the window or the terminal, or Ctrl-C, to stop.

Example:
  pipelines/$me --port 5000 'my clip.mp4'
USAGE
}

split_options "$@"
set -- "${words[@]}"
while (($#)); do
    case $1 in
        -?*) source_option "$@" || server_option "$@"; shift "$taken" ;;
        *)
            [[ -z $input && -n $1 ]] || usage_error 'exactly one SOURCE is needed'
            input=$1
            shift
            ;;
    esac
done
[[ -n $input ]] || usage_error 'exactly one SOURCE is needed'

prepare
find_media

# For viewers that measure the delay; others ignore it.
server=(capture-time=true)
serve "${media[@]}"
outcome "The video has ended${or_key:-}."
