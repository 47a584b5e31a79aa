#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# Writes a stream of length-prefixed base64 JPEG to a file, no picture encoded again.
# shellcheck source=common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"

file=
force=

usage() {
    cat <<USAGE
Usage: pipelines/$me [OPTION...] [HOST[:PORT]] [FILE]

Records the stream that HOST serves (default localhost:$default_port) into FILE (default:
named by date and time, .b64jpeg). Waits for a server that is not there yet, or has
gone, and then goes on in the same file. No picture is encoded again, and only whole
frames are written, in the default framing, so the file always plays: with
pipelines/replay.sh, or any GStreamer player that has the plugin.

  --force       write over FILE if it exists
$receiver_options

q in the terminal or Ctrl-C ends it.

Example:
  pipelines/$me --once localhost:$default_port 'my recording.b64jpeg'
USAGE
}

for word; do
    case $word in
        --force) force=yes ;;
        -?*) receiver_option "$word" ;;
        *)
            if [[ -z $input ]]; then
                input=$word
            elif [[ -z $file ]]; then
                file=$word
            else
                usage_error 'one address and one file are enough'
            fi
            ;;
    esac
done
receive
[[ -n $file ]] || printf -v file '%(%Y-%m-%d %H.%M.%S)T.b64jpeg' -1

[[ -n $force || ! -e $file ]] || die "'$file' exists; choose another name, or --force to write over it"
[[ -w $(dirname -- "$file") ]] || die "'$file' cannot be written: its directory is not there or not yours"

prepare
gst=(-e -m "${source[@]}" ! b64jpegpay ! filesink "$(property location "$file")")
hello="Recording $input to '$file'."
heard_more() { heard_connection "$2" || :; }
launch
follow
if [[ -s $file ]]; then
    say "'$file' has $(stat -c %s -- "$file") bytes; play it with pipelines/replay.sh."
elif [[ -z $force ]]; then
    rm -f -- "$file"
fi
received
