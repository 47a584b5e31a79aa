#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# Writes a stream of length-prefixed base64 JPEG to a file, every picture as it was sent.
# shellcheck source=common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"

file=
force=

usage() {
    cat <<USAGE
Usage: pipelines/$me [--force] [HOST[:PORT]] [FILE]

Records the stream that HOST serves (default localhost:$default_port) into FILE (default:
named by date and time, .b64jpeg). No picture is encoded again, and only whole frames
are written, in the default framing, so the file always plays: with pipelines/replay.sh, or any GStreamer
player that has the plugin.

  --force    write over FILE if it exists
  --dry-run  print the gst-launch-1.0 line and do nothing else
  --help     this text

It ends with the stream; q in the terminal or Ctrl-C ends it sooner.

Example:
  pipelines/$me localhost:$default_port 'my recording.b64jpeg'
USAGE
}

for word; do
    case $word in
        --force) force=yes ;;
        --dry-run) dry_run=yes ;;
        --help) usage && exit ;;
        -?*) usage_error "there is no option $word" ;;
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
input=${input:-localhost}
parse_address "$input"
[[ -n $file ]] || printf -v file '%(%Y-%m-%d %H.%M.%S)T.b64jpeg' -1

[[ -n $force || ! -e $file ]] || die "'$file' exists; choose another name, or --force to write over it"
[[ -w $(dirname -- "$file") ]] || die "'$file' cannot be written: its directory is not there or not yours"

prepare
gst=(-e tcpclientsrc "$(property host "$host")" "port=$port" ! b64jpegdepay ! b64jpegpay !
    filesink "$(property location "$file")")
heard_more() {
    [[ $2 != *'etting pipeline to PLAYING'* ]] || say "Recording $(address "$host" "$port") to '$file'."
}
launch
follow
if [[ -s $file ]]; then
    say "'$file' has $(stat -c %s -- "$file") bytes; play it with pipelines/replay.sh."
elif [[ -z $force ]]; then
    rm -f -- "$file"
fi
outcome 'The stream has ended: the server closed it.'
