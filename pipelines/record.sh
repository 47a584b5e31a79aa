#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# Writes a stream of length-prefixed base64 JPEG to a file, without encoding again.
# shellcheck source=common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"

file=
force=

usage() {
    cat <<USAGE
Usage: pipelines/$me [OPTION...] [HOST[:PORT]] [FILE]

Records the stream that HOST serves (default localhost:$default_port) into FILE (default:
named by date and time, .b64jpeg). Waits for a server that is not there yet, or has
gone, and then continues in the same file. Frames are not encoded again, and only whole
frames are kept, in the default framing, so the file always plays: with
pipelines/replay.sh, or any GStreamer player that has the plugin. When the disk is full
it stops and cuts off the incomplete last frame.

  --force       overwrite FILE if it exists
$receiver_options

Press q in the terminal or Ctrl-C to stop.

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

[[ -n $force || ! -e $file ]] || die "'$file' exists; choose another name, or --force to overwrite it"
[[ -w $(dirname -- "$file") ]] || die "'$file' cannot be written: its directory does not exist or is not writable"

prepare
gst=(-e -m "${source[@]}" ! b64jpegpay ! filesink "$(property location "$file")")
working_message="Recording $input to '$file'."
handle_other_line() { handle_connection "$2" || :; }
launch
follow

# Cuts off the last frame of the file if it is incomplete. Sets `whole` to a description of the
# remaining frames, or to nothing if the check failed.
torn=() # the number of the incomplete frame, and its offset
cut_torn_frame() {
    local cause=$failure end=$ending
    failure='' ending='' stop_requested_at='' torn=() whole=''
    on_line() {
        [[ ! $2 =~ rame\ ([0-9]+)\ at\ byte\ ([0-9]+):\ the\ stream\ ended\ inside ]] || torn=("${BASH_REMATCH[@]:1}")
    }
    on_exit() { :; }
    start check gst-launch-1.0 -f -m filesrc "$(property location "$file")" ! \
        b64jpegdepay header=be32 payload=base64 ! fakesink </dev/null
    follow
    if ((exit_status[check] == 0)) && [[ -z $ending ]]; then
        if ((${#torn[@]} == 0)); then
            whole='whole frames'
        elif truncate -s "${torn[1]}" -- "$file"; then
            whole="${torn[0]} whole frames"
        fi
    fi
    failure=$cause ending=$end
}

whole='whole frames'
if [[ -s $file ]] && { [[ -n $failure ]] || ((exit_status[gst-launch-1.0])); }; then
    cut_torn_frame
    [[ -n $whole ]] || complain "warning: the last frame of '$file' may be cut off; players skip it"
fi
contents=
[[ ! -s $file ]] || contents="'$file' has ${whole:-frames} in $(stat -c %s -- "$file") bytes; play it with pipelines/replay.sh"
if [[ -z $contents ]]; then
    [[ -n $force ]] || rm -f -- "$file"
    contents="'$file' is empty"
elif [[ -z $disk_full ]]; then
    say "$contents."
fi
[[ -z $disk_full ]] || failure="the disk is full: $contents"
received
