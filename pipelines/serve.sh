#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# Serves a video over TCP, each frame a JPEG in base64 behind its length.
# shellcheck source=common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"

host=127.0.0.1
port=$default_port

usage() {
    cat <<USAGE
Usage: pipelines/$me [OPTION...] SOURCE

Serves SOURCE to any number of viewers and shows what they get in a window.

$source_kinds

A file waits for its first viewer, who gets it from the first frame, is paced at its
own rate, and ends when everybody has everything. A viewer that is more than
$file_queue frames late loses whole frames; $live_queue with a live source.

$source_options
$server_options

A window or the terminal ends it with q; so does Ctrl-C.

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

# For those who want to know the delay; other viewers do not notice.
server=(capture-time=true)
serve "${media[@]}"
outcome "The video has ended${or_key:-}."
