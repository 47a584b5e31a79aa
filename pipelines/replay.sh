#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# Serves a recording of pipelines/record.sh, without encoding again.
# shellcheck source=common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"

host=127.0.0.1
port=$default_port
framerate=25

usage() {
    cat <<USAGE
Usage: pipelines/$me [OPTION...] FILE

Serves FILE, a recording of pipelines/record.sh, to any number of viewers, each
frame as it was received. It starts when the first viewer connects and ends when
every viewer has received everything.

  --framerate N  frames per second (default $framerate): the recording contains no times
$server_options

Press q in the window or the terminal, or Ctrl-C, to stop.

Example:
  pipelines/$me --port 0 --framerate 30 'my recording.b64jpeg'
USAGE
}

split_options "$@"
set -- "${words[@]}"
while (($#)); do
    case $1 in
        --framerate) value_of "$@" && number --framerate "$value" 1 1000 && framerate=$value && shift 2 ;;
        -?*) server_option "$@" && shift "$taken" ;;
        *)
            [[ -z $input && -n $1 ]] || usage_error 'exactly one FILE is needed'
            input=$1
            shift
            ;;
    esac
done
[[ -n $input ]] || usage_error 'exactly one FILE is needed'

readable_file "$input"
prepare
serve filesrc "$(property location "$input")" ! b64jpegdepay "framerate=$framerate/1"
outcome "The recording has ended${or_key:-}."
