# SPDX-License-Identifier: MPL-2.0
# shellcheck shell=bash disable=SC2034 # some variables are used only by the sourcing script
#
# Shared code of the scripts in this directory. Sourced, never run.
#
# A script puts the arguments of gst-launch-1.0 into the array `gst`, calls `launch`
# to print and start the pipeline, and `follow` to wait for its end. `follow` turns
# GStreamer's output into sentences and reads the keyboard. No process is left running.

set -euo pipefail
# GStreamer's messages are parsed below: they must be untranslated, with UTF-8 file names.
export LC_ALL=C.UTF-8 LANGUAGE=

me=${0##*/}
here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
root=$(dirname "$here")
plugin_file=libgstb64jpeg.so
# Contains only the plugin: GStreamer scans plugin directories recursively, and in
# cargo's own directory it would load every procedural macro.
plugin_dir=$(realpath -ms -- "${B64JPEG_PLUGIN_DIR:-${CARGO_TARGET_DIR:-$root/target}/gstreamer-1.0}")
case :${GST_PLUGIN_PATH:-}: in
    *:"$plugin_dir":*) ;;
    *) export GST_PLUGIN_PATH=$plugin_dir${GST_PLUGIN_PATH:+:$GST_PLUGIN_PATH} ;;
esac
# Where setup.sh --zenoh and --router install.
zenoh_dir=$(realpath -ms -- "${B64JPEG_ZENOH_DIR:-${CARGO_TARGET_DIR:-$root/target}/zenoh}")

default_port=9999
default_web_port=8080
# Frames queued for a slow viewer before whole frames are dropped, and the time in ns
# that viewers have to read the last frames after a file has ended.
live_queue=25
file_queue=250
file_drain_timeout=60000000000
# Keeps only the newest frame.
newest=(queue leaky=downstream max-size-buffers=1)
# Converts raw frames to the colours of JPEG: full range, BT.601. Without it they look
# washed out. videoconvert converts what jfifconvert does not accept, such as 10-bit frames,
# and passes the rest unchanged.
true_colours=(videoconvert ! jfifconvert)
# Settings of videotestsrc: moving colours, and a clock to measure the delay with.
# Full range is not requested, because videotestsrc would announce it but not produce it.
test_picture=(pattern=smpte horizontal-speed=4 !
    'video/x-raw,format=I420,colorimetry=bt709,width=1280,height=720,framerate=30/1' ! timeoverlay)

# The user's choice; the messages below name it.
host=
port=
input=
inputs=() # with several sources: the inputs of the elements source0, source1, ...
dry_run=

# ---- messages ------------------------------------------------------------------

say() {
    clear_status
    printf '%s\n' "$*"
}

complain() {
    clear_status
    printf '%s: %s\n' "$me" "$*" >&2
}

die() {
    complain "$@"
    exit 1
}

usage_error() {
    complain "$* ('$me --help' explains)"
    exit 2
}

# A status line: rewritten in place on a terminal, printed as a new line elsewhere.
status_shown=
show_status() {
    if [[ -t 1 ]]; then
        # No line wrap: a wrapped status could not be rewritten in place.
        printf '\r\e[K\e[?7l%s\e[?7h' "$*"
        status_shown=yes
    else
        printf '%s\n' "$*"
    fi
}

clear_status() {
    [[ -z $status_shown ]] || printf '\r\e[K'
    status_shown=
}

# ---- arguments --------------------------------------------------------------

# Sets `words` to the arguments, with --option=value split in two.
split_options() {
    local word
    words=()
    for word; do
        case $word in
            --*=*) words+=("${word%%=*}" "${word#*=}") ;;
            *) words+=("$word") ;;
        esac
    done
}

# value_of OPTION [VALUE]...: sets `value` to the word after the option.
value_of() {
    (($# > 1)) || usage_error "$1 needs a value"
    value=$2
}

# Each option parser sets `taken` to the number of words it has used, or fails if the option
# is not its own. This one comes last and rejects unknown options.
common_options="  --dry-run     print the gst-launch-1.0 line and exit
  --help        print this text"

common_option() {
    taken=1
    case $1 in
        --dry-run) dry_run=yes ;;
        --help) usage && exit ;;
        *) usage_error "there is no option $1" ;;
    esac
}

# number NAME VALUE MIN MAX: rejects other values.
number() {
    if [[ ! $2 =~ ^[0-9]{1,9}$ ]] || ((10#$2 < $3 || 10#$2 > $4)); then
        usage_error "$1 must be a number from $3 to $4, not '$2'"
    fi
}

# Sets `host` and `port` from HOST[:PORT], where HOST may be [IPv6].
parse_address() {
    local port_pattern='(:([0-9]+))?'
    if [[ $1 =~ ^\[([^]]+)\]$port_pattern$ ]] || [[ $1 =~ ^([^]:[]+)$port_pattern$ ]]; then
        host=${BASH_REMATCH[1]}
        port=${BASH_REMATCH[3]:-$default_port}
    elif [[ $1 =~ ^[0-9A-Fa-f:.]+$ && $1 == *:*:* ]]; then
        host=$1
        port=$default_port
    else
        usage_error "'$1' is not an address: write HOST, HOST:PORT or [IPv6]:PORT"
    fi
    number "the port" "$port" 1 65535
}

# address HOST PORT: prints HOST:PORT, or [IPv6]:PORT.
address() {
    [[ $1 == *:* ]] && printf '[%s]:%s' "$1" "$2" || printf '%s:%s' "$1" "$2"
}

# percent_encode TEXT: escapes every byte that URIs do not allow.
percent_encode() {
    local LC_ALL=C i byte
    for ((i = 0; i < ${#1}; i++)); do
        byte=${1:i:1}
        case $byte in
            [A-Za-z0-9/._~-]) printf '%s' "$byte" ;;
            *) printf '%%%02X' "'$byte" ;;
        esac
    done
}

# file_uri PATH: prints its file:// URI.
file_uri() {
    printf 'file://%s' "$(percent_encode "$(realpath -ms -- "$1")")"
}

# property NAME VALUE: prints NAME=VALUE, quoted for the parser of gst-launch-1.0.
property() {
    local value=$2
    if [[ ! $value =~ ^[A-Za-z0-9_./:@%+,=-]+$ ]]; then
        value=${value//\\/\\\\}
        value=\"${value//\"/\\\"}\"
    fi
    printf '%s=%s' "$1" "$value"
}

# readable_file PATH: dies with the reason if it cannot be read.
readable_file() {
    [[ -z $dry_run ]] || return 0
    [[ -e $1 ]] || die "there is no file '$1'"
    [[ ! -d $1 ]] || die "'$1' is a directory, not a file"
    [[ -r $1 ]] || die "'$1' cannot be read: permission denied"
}

# ---- processes --------------------------------------------------------------

declare -A pids=() logs=() partial=() exit_status=()
saved_terminal=
ending=   # a sentence: why the script stops, once that was requested
failure=  # a sentence: the first error
disk_full= # set if that error is a full disk
stop_requested_at= # when the children were asked to stop, in ms
death_signal=INT # the signal that children get when this script dies
grace_period=4000 # ms from SIGINT to SIGTERM
scratch=  # a temporary directory, if there is one

trap finish EXIT
trap 'request_end "Stopped."' INT TERM HUP

# start NAME COMMAND...: runs a child in a session of its own, so that only this script
# receives the terminal's Ctrl-C. The child never outlives this script.
start() {
    local name=$1 log
    shift
    exec {log}< <(exec setsid setpriv --pdeathsig "$death_signal" "$@" 2>&1)
    pids[$name]=$!
    logs[$name]=$log
    partial[$name]=
}

# Sets `now`, in milliseconds.
read_clock() {
    now=${EPOCHREALTIME/./}
    now=${now%???}
}

signal_children() {
    local name
    for name in "${!pids[@]}"; do
        kill "-$1" "${pids[$name]}" 2>/dev/null || :
    done
}

# request_end SENTENCE: stops the script; only the first reason is kept.
request_end() {
    ending=${ending:-$1}
}

# Stops the children: SIGINT first, so that a file is finished; later SIGTERM, then SIGKILL.
stop_children() {
    read_clock
    if [[ -z $stop_requested_at ]]; then
        stop_requested_at=$now
        signal_children INT
    elif ((now - stop_requested_at > grace_period + 2000)); then
        signal_children KILL
    elif ((now - stop_requested_at > grace_period)); then
        signal_children TERM
    fi
}

finish() {
    local status=$? name started
    trap '' INT TERM HUP
    clear_status
    [[ -z $saved_terminal ]] || stty "$saved_terminal" 2>/dev/null || :
    if ((${#pids[@]})); then
        signal_children INT
        read_clock
        started=$now
        for name in "${!pids[@]}"; do
            while kill -0 "${pids[$name]}" 2>/dev/null; do
                read_clock
                ((now - started < 2000)) || kill -KILL "${pids[$name]}" 2>/dev/null || :
                sleep 0.05
            done
        done
    fi
    [[ -z $scratch ]] || rm -rf -- "$scratch"
    exit "$status"
}

# Succeeds while this script is in the foreground of a terminal and may read its keyboard.
own_keyboard() {
    local stat
    [[ -t 0 ]] || return 1
    read -r stat <"/proc/$$/stat"
    # Fields after the name: state, parent, group, session, terminal, foreground group.
    read -r -a stat <<<"${stat##*) }"
    [[ ${stat[2]} == "${stat[5]}" ]]
}

read_keyboard() {
    local key
    own_keyboard || return 0
    if [[ -z $saved_terminal ]]; then
        # A failure here may be caused by Ctrl-C.
        saved_terminal=$(stty -g) || return 0
        stty -icanon -echo || return 0
    fi
    while read -r -t 0; do
        # A Ctrl-D typed before the terminal left line mode is pending but cannot be read.
        read -r -N 1 -t 0.1 key || return 0
        [[ $key != [qQ] ]] || request_end 'Stopped by q.'
    done
}

# follow: runs until every child has ended and no `restart_pending`. Calls `on_line NAME LINE`
# for each line of a child, `on_exit NAME` when it has ended, and `on_tick` in between.
# Scripts may override all four.
on_tick() { :; }
restart_pending() { false; }
follow() {
    local name line log turns status idle never
    exec {never}<> <(:) # never has any input
    while ((${#logs[@]})) || restart_pending; do
        idle=yes
        for name in "${!logs[@]}"; do
            log=${logs[$name]}
            # A limit, so that one child cannot block the others.
            for ((turns = 0; turns < 100; ++turns)); do
                read -r -t 0 -u "$log" || break
                idle=
                status=0
                IFS= read -r -t 0.1 -u "$log" line || status=$?
                partial[$name]+=$line
                if ((status == 0)); then
                    line=${partial[$name]}
                    partial[$name]=
                    on_line "$name" "$line"
                elif ((status > 128)); then
                    # No program prints lines of this length: discard it.
                    ((${#partial[$name]} < 1000000)) || partial[$name]=
                else # end of file
                    exec {log}<&-
                    exit_status[$name]=0
                    wait "${pids[$name]}" || exit_status[$name]=$?
                    unset "logs[$name]" "pids[$name]" "partial[$name]"
                    on_exit "$name"
                    break
                fi
            done
        done
        read_keyboard
        on_tick
        [[ -z $ending$failure ]] || stop_children
        [[ -z $idle ]] || read -r -t 0.1 -u "$never" || :
    done
    exec {never}<&-
    clear_status
}

on_exit() { check_exit "$1"; }

# check_exit NAME: sets `failure` if the child failed.
check_exit() {
    speaker=${speakers[ERROR]-}
    [[ -z ${messages[ERROR]-} ]] || fail "${messages[ERROR]}" ''
    # A crash is reported even if the script is stopping anyway.
    ((exit_status[$1])) && [[ -z $failure ]] || return 0
    describe_end "$1"
    [[ -n $ending && -z $crash ]] || failure="$text; its last output: $last_line"
    [[ -z $crash ]] || ending=
}

# describe_end NAME: sets `text` to how a child failed, and `crash` to the signal if it
# crashed.
describe_end() {
    local status=${exit_status[$1]} signal=
    ((status <= 128)) || signal=$(kill -l "$status" 2>/dev/null) || :
    text="$1 failed with status $status${signal:+ (SIG$signal)}"
    crash=
    case $signal in
        SEGV | ABRT | BUS | ILL | FPE | TRAP | SYS)
            crash=$signal
            text+=": it crashed, which is a bug. For a backtrace put 'gdb -batch -ex run -ex bt --args' before gst-launch-1.0 in the line printed above"
            ;;
        KILL) text+=": it was killed; the system does that when memory runs out, see 'dmesg'" ;;
        XFSZ) text+=': a file has reached the size limit (ulimit -f)' ;;
    esac
}

# ---- display ----------------------------------------------------------------

# Succeeds if a window can be opened; otherwise sets `no_display` to the reason.
# Connects to the X display and stays connected: Xvfb resets when its last client
# disconnects, and autovideosink, which connects and disconnects twice, would then fail.
have_display() {
    local line log
    if [[ -n ${WAYLAND_DISPLAY:-} || -n ${pids[display]-} ]]; then
        return 0
    elif [[ -z ${DISPLAY:-} ]]; then
        no_display='there is no display (DISPLAY and WAYLAND_DISPLAY are not set)'
        return 1
    fi
    start display gst-launch-1.0 -f ximagesrc endx=1 endy=1 ! 'video/x-raw,framerate=1/1' ! fakesink
    log=${logs[display]}
    unset 'logs[display]' # `follow` need not wait for it
    # The timeout is for a display behind a dead connection: it never answers.
    while read -r -t 10 line <&"$log"; do
        [[ $line != *PLAYING* ]] || return 0
    done
    kill -KILL "${pids[display]}" 2>/dev/null || :
    unset 'pids[display]'
    no_display="the display '$DISPLAY' cannot be opened"
    return 1
}

# window TITLE: sets `show` to elements that show JPEGs and their frame rate in a window.
# sync=false: the QoS events of a late sink would make decoders drop frames, also those before
# the server. RGB: Xv and GL show full-range YUV in wrong colours. idct-method=islow: with a
# faster method white would not be exactly white.
window() {
    show=(jpegdec idct-method=islow ! videoconvert ! 'video/x-raw,format=BGRx' ! videoconvert !
        taginject "tags=title=$1" ! fpsdisplaysink video-sink=autovideosink sync=false)
}

# Only measures the frame rate.
meter=(fpsdisplaysink text-overlay=false video-sink=fakesink sync=false)

# ---- gst-launch-1.0 ---------------------------------------------------------

# shell_line WORD...: prints the command, quoted for pasting into a shell.
shell_line() {
    local word line=
    for word; do
        [[ $word =~ ^([A-Za-z0-9_./:@%+,=-]+|!)$ ]] || word=${word@Q}
        line+=" $word"
    done
    printf '%s' "${line# }"
}

# launch: prints the command line for `gst`, and starts it unless `dry_run` is set.
launch() {
    say "GST_PLUGIN_PATH=$(shell_line "$GST_PLUGIN_PATH") $(shell_line gst-launch-1.0 "${gst[@]}")"
    [[ -z $dry_run ]] || exit 0
    # -f: otherwise gst-launch-1.0 catches a crash and spins for ever.
    start gst-launch-1.0 gst-launch-1.0 -f "${gst[@]}" </dev/null
    ! own_keyboard || say 'q or Ctrl-C ends it.'
}

# Installs and builds what is missing; prints nothing if all is there.
needed=() # options of setup.sh
prepare() {
    [[ -n $dry_run ]] || "$here/setup.sh" "${needed[@]}" >/dev/null || exit
}

window_closed='The window was closed.'

# Incomplete messages that `on_line` has read, and the kind of line expected next.
# Two threads print them: a warning may come between the lines of an error.
declare -A messages=() speakers=() # by level
level=
speaker= # the element that posted the last complete message
expected=
last_line=

on_line() { parse_gst_line "$@"; }

# parse_gst_line NAME LINE: a line of gst-launch-1.0.
parse_gst_line() {
    # Strips prefixes without information; an error may follow them on the same line.
    local line=${2#'buffering...'*$'\r'}
    line=${line#'Got message #'*'): '}
    if [[ $expected == place ]]; then
        # "file(line): function (): /path:"; a colon at the end means that one more line follows.
        expected=
        [[ $line != *: ]] || expected=detail
        [[ -n $expected ]] || report ''
        return
    elif [[ $expected == detail ]]; then
        report "$line"
        return
    fi
    case $line in
        'ERROR: from element '* | 'WARNING: from element '*)
            level=${line%%:*}
            line=${line#*: from element }
            speakers[$level]=${line%% *}
            messages[$level]=${line#* }
            ;;
        'Additional debug info:') expected=${level:+place} ;;
        'WARNING: erroneous pipeline: '*) fail "${line#*pipeline: }" '' ;;
        *FPSDisplaySink*': last-message = rendered: '*) show_rate "${line#*rendered: }" ;;
        # If another program destroys a window, Xlib ends the program that owns it.
        'X Error of failed request'* | 'X connection to '*' broken'* | *'fatal IO error'*)
            request_end "$window_closed"
            ;;
        'Missing element: '* | 'Missing decoder: '*) missing "${line#*: }" ;;
        *) handle_other_line "$1" "$line" ;;
    esac
    last_line=$line
}

# Lines that only some scripts handle.
handle_other_line() { :; }

# field NAME LINE: sets `value` to a field of a structure as GStreamer prints it.
field() {
    value=
    [[ $2 =~ ,\ $1=\([A-Za-z0-9]+\)(\"([^\"\\]|\\.)*\"|[^,\;]*) ]] || return 1
    value=${BASH_REMATCH[1]#\"}
    printf -v value %b "${value%\"}"
    value=${value//\\/}
}

# report DETAIL: handles a complete message. An error ends the script, a warning is
# printed.
report() {
    local message=${messages[$level]-} failed=$level text
    speaker=${speakers[$level]-}
    expected=
    unset "messages[$level]"
    level=${!messages[*]} # the other one, if there is one
    if [[ $failed == ERROR || $message == 'Delayed linking failed.' ]]; then
        fail "$message" "$1"
        return
    fi
    whole_text "$message" "$1"
    case $text in
        # Other code reports these two: a missing decoder, an absent peer.
        'No decoder available'*) ;;
        *'; trying again until it '*) [[ -n $peer && $speaker == *"$connects"* ]] || complain "warning: $text" ;;
        *) [[ -n $ending ]] || complain "warning: $text" ;;
    esac
}

# whole_text MESSAGE DETAIL: sets `text` to both, or to one if it contains the other. Like
# `explain` it uses no command substitution: Ctrl-C would end that, and then this script.
whole_text() {
    if [[ ${1,,} == *"${2,,}"* ]]; then
        text=$1
    elif [[ ${2,,} == *"${1,,}"* ]]; then
        text=$2
    else
        text="$1 ($2)"
    fi
}

# fail MESSAGE DETAIL: keeps only the first error, which causes the others.
fail() {
    [[ -z $failure && -z $ending ]] || return 0
    case "$1 $2" in
        *'Output window was closed'*) request_end "$window_closed" ;;
        *) explain "$1" "$2" ;;
    esac
}

# missing WHAT: says which package may have the decoder.
missing() {
    [[ $1 != *'(audio/'* ]] || return 0
    failure="GStreamer has no decoder for ${1%% (*}; installing gstreamer1.0-libav or gstreamer1.0-plugins-ugly may help"
}

# show_rate "N, dropped: D, current: C, average: A": called twice a second.
rates=0
delay_shown=
show_rate() {
    # The average includes the time without a peer, so show the current rate.
    [[ $1 =~ ^([0-9]+),.*current:\ ([0-9.]+) ]] || return 0
    # In a log, one line a second is enough.
    [[ -t 1 ]] || ((rates++ % 2 == 0)) || return 0
    show_status "${BASH_REMATCH[2]} frames/s (${BASH_REMATCH[1]} frames)$delay_shown"
}

# explain MESSAGE DETAIL: sets `failure` to one sentence that says what to do.
explain() {
    local message=$1 detail=$2 text
    # One of several sources failed.
    [[ ! $speaker =~ :source([0-9]+) ]] || input=${inputs[BASH_REMATCH[1]]}
    case "$message $detail" in
        'Cannot listen on '*)
            failure=$message ;;
        *'no element "socketio'*)
            failure="the plugin in $plugin_dir was built without the Cargo feature 'web'; build it with that, as pipelines/setup.sh does" ;;
        *'no element "b64jpeg'*)
            failure="GStreamer does not find the plugin in $plugin_dir; run pipelines/setup.sh" ;;
        *'no element '*)
            failure="GStreamer has $message here; run pipelines/setup.sh" ;;
        *'No space left on the resource'*)
            disk_full=yes
            failure='the disk is full' ;;
        *'is busy'* | *'Device or resource busy'*)
            failure="$input is in use by another program; close that one first" ;;
        *'Could not determine type of stream'* | *'no playable streams'* | *'Stream contains no data'* | \
            *"doesn't contain enough data"* | *'plain text files'*)
            failure="'$input' is not a video that GStreamer can read: $message" ;;
        *'Delayed linking failed'* | *'missing a plug-in'* | *'not-linked'*)
            failure="'$input' has no video in it" ;;
        *'Internal data stream error'*'reason error'*)
            failure="$input cannot be opened, or ended unexpectedly" ;;
        *)
            whole_text "$message" "$detail"
            [[ $speaker == *SocketIo* || $text == *"$input"* ]] || text="$input: $text"
            failure=$text
            ;;
    esac
}

# outcome SENTENCE: ends the script; prints SENTENCE if the stream ended by itself.
outcome() {
    if [[ -n $ending ]]; then
        say "$ending"
    elif [[ -n $failure ]]; then
        die "$failure"
    else
        say "$1"
    fi
    exit 0
}

# ---- sources ----------------------------------------------------------------
# The sources of serve.sh, web.sh, relay-out.sh and origin.sh.

live=
width=
quality=
source_args=() # these options, to pass to another script
source_kinds="SOURCE is one of
  a file        any video
  a URI         rtsp://, http://, https:// ...; b64jpeg://HOST:PORT for a server of
                length-prefixed base64 JPEG
  /dev/videoN   a camera, or 'camera' for the first one
  screen        the screen of this X display
  test          a moving test picture with a clock
(for a file of that name write ./test). A source that is JPEG already, such as an MJPEG
camera, is sent unchanged unless --width or --quality is given."
source_options="  --width W     scale to this width, keeping the aspect ratio (default 800);
                0 keeps the size
  --quality Q   JPEG quality, 0 to 100 (default 80)"

source_option() {
    taken=2
    case $1 in
        --width) value_of "$@" && number --width "$value" 0 16384 && width=$value ;;
        --quality) value_of "$@" && number --quality "$value" 0 100 && quality=$value ;;
        *) return 1 ;;
    esac
    source_args+=("$1=$value")
}

# Succeeds if the source in `input` is live.
is_live() {
    [[ $input == @(camera|/dev/video*|screen|test|rtsp://*|rtsps://*|b64jpeg://*) ]]
}

# Sets `media` to elements that produce JPEGs from the source in `input`, and `live` if it is live.
find_media() {
    # Selects video only: decoding the sound would be wasted. The queue lets a file be decoded and
    # encoded in parallel.
    local size=pixel-aspect-ratio=1/1 encode decode_queue=(queue max-size-buffers=3) \
        only_pictures=(expose-all-streams=false 'caps=video/x-raw(ANY)')
    # Raw frames become JPEG. The colours are converted first: videoscale would otherwise
    # change the colorimetry with the size.
    ((${width:-800} == 0)) || size+=,width=${width:-800}
    encode=("${true_colours[@]}" ! videoscale ! "video/x-raw,format=I420,$size" ! jpegenc "quality=${quality:-80}")
    live=
    ! is_live || live=yes
    case $input in
        camera | /dev/video*) camera ;;
        screen) screen ;;
        test) media=(videotestsrc is-live=true "${test_picture[@]}" ! "${newest[@]}" ! "${encode[@]}") ;;
        rtsp://* | rtsps://*)
            media=(rtspsrc "$(property location "$input")" latency=100 ! 'application/x-rtp,media=video' !
                decodebin "${only_pictures[@]}" ! "${newest[@]}" ! "${encode[@]}")
            ;;
        b64jpeg://*) media=(b64jpegclientsrc "$(property uri "$input")") && add_jpegs ;;
        *://*) media=(uridecodebin "$(property uri "$input")" "${only_pictures[@]}" ! "${decode_queue[@]}" ! "${encode[@]}") ;;
        *)
            readable_file "$input"
            media=(uridecodebin "uri=$(file_uri "$input")")
            if [[ -z $width$quality ]] && has_jpegs "$input"; then
                media+=(expose-all-streams=false caps=image/jpeg)
            else
                media+=("${only_pictures[@]}" ! "${decode_queue[@]}" ! "${encode[@]}")
            fi
            ;;
    esac
}

# Adds the elements for a source that is JPEG already.
add_jpegs() {
    media+=(! "${newest[@]}")
    [[ -z $width$quality ]] || media+=(! jpegdec ! "${encode[@]}")
}

# has_jpegs FILE: succeeds if its frames are JPEGs that can be sent unchanged.
has_jpegs() {
    local kinds
    kinds=$(gst-discoverer-1.0 "$(file_uri "$1")" 2>/dev/null | sed -n 's/^ *video[^:]*: //p')
    [[ $kinds == JPEG ]]
}

# formats DEVICE: prints the pixel formats of a camera.
formats() {
    v4l2-ctl --device "$1" --list-formats 2>/dev/null | sed -n "s/.*\[[0-9]*\]: '\([^']*\)'.*/\1/p"
}

find_camera() {
    local device
    for device in /dev/video*; do
        [[ -z $(formats "$device") ]] || { input=$device && return; }
    done
    die 'no camera was found; plug one in, or name it as /dev/videoN'
}

camera() {
    [[ $input != camera ]] || find_camera
    [[ -c $input ]] || die "there is no camera $input; 'camera' uses the first one found"
    [[ -r $input && -w $input ]] || die "no permission to use $input; join the group video: sudo usermod -aG video \$USER, and log in again"
    media=(v4l2src "device=$input")
    if grep -qx MJPG <<<"$(formats "$input")"; then
        media+=(! image/jpeg)
        add_jpegs
    else
        media+=(! "${newest[@]}" ! "${encode[@]}")
    fi
}

screen() {
    have_display || die "the screen cannot be captured: $no_display"
    [[ -n ${DISPLAY:-} ]] || die 'the screen cannot be captured: Wayland does not allow it, an X display is needed'
    [[ -z ${WAYLAND_DISPLAY:-} ]] || complain 'warning: on Wayland only the windows of X programs are captured'
    # Without damage tracking the frames come at a steady rate.
    media=(ximagesrc use-damage=false ! 'video/x-raw,framerate=25/1' ! "${newest[@]}" ! "${encode[@]}")
}

# ---- serving ----------------------------------------------------------------
# Shared by serve.sh, replay.sh and web.sh.

clients=
loop=
listen_options="  --clients N   serve at most N viewers at a time, refuse others
  --loop        restart the video at its end"

listen_option() {
    taken=2
    case $1 in
        --host) value_of "$@" && host=$value ;;
        --port) value_of "$@" && number --port "$value" 0 65535 && port=$value ;;
        --clients) value_of "$@" && number --clients "$value" 1 999999999 && clients=$value ;;
        --loop) taken=1 && loop=yes ;;
        *) return 1 ;;
    esac
}

# Succeeds if only this machine can connect.
local_only() {
    [[ $host == 127.* || $host == localhost || $host == ::1 ]]
}

# Prints the host for other machines: 0.0.0.0 is not an address they can use.
public_host() {
    local from=$host
    # The IP address first: not every network resolves the host name.
    [[ $host != 0.0.0.0 && $host != :: ]] || read -r from _ < <(hostname -I) || from=$HOSTNAME
    printf '%s' "$from"
}

# handle_server LINE: lines of every server; fails at other lines.
handle_server() {
    case $1 in
        *ServerSink*': current-port = '[1-9]*) port=${1##* } ;;
        *'etting pipeline to PLAYING'*) announce ;;
        *) return 1 ;;
    esac
}

# Prints the address once the server runs, by the script's `invite ADDRESS`.
announced=
announce() {
    [[ -z $announced ]] || return 0
    announced=yes
    invite "$(address "$(public_host)" "$port")"
    ! local_only || say 'Only this machine can watch; --host 0.0.0.0 lets others watch as well.'
}

# ---- serving over TCP -------------------------------------------------------
# Shared by serve.sh and replay.sh.

fast=
no_preview=
server=() # properties of b64jpegserversink
server_options="  --host H      the address to listen on: 127.0.0.1 (default), only this machine;
                0.0.0.0 or ::, all addresses. Plain TCP is not encrypted:
                anyone who can reach the port can watch.
  --port P      the port (default $default_port); 0 picks a free one and prints it
$listen_options
  --fast        send as fast as the viewer reads, not at the video's own rate;
                for one viewer, which gets every frame from the first to the last
  --no-preview  open no window; show the frame rate in the terminal
$common_options"

server_option() {
    taken=1
    case $1 in
        --fast) fast=yes ;;
        --no-preview) no_preview=yes ;;
        *) listen_option "$@" || common_option "$@" ;;
    esac
}

# serve ELEMENT...: serves the JPEG frames that these elements produce.
serve() {
    [[ -z $live || -z $fast$loop ]] || usage_error "--fast and --loop are for files; $input is live"
    [[ -z $fast || -z $clients ]] || usage_error '--fast is for one viewer'
    server+=("$(property host "$host")" "port=$port")
    if [[ -n $live ]]; then
        server+=(sync=false "queue-frames=$live_queue")
    else
        server+=(wait-for-client=true "queue-frames=$file_queue" "drain-timeout=$file_drain_timeout")
    fi
    [[ -z $fast ]] || server+=(max-clients=1 sync=false)
    [[ -z $clients ]] || server+=("max-clients=$clients")
    [[ -z $loop ]] || server+=(loop=true)
    if [[ -z $no_preview ]] && ! have_display; then
        say "No preview: $no_display."
        no_preview=yes
    fi

    # The preview decodes the frames as they are sent. Its key presses travel upstream as
    # events, and q makes b64jpegpay end the stream.
    if [[ -z $no_preview ]]; then
        window TRANSMITIENDO
        or_key=', or q was pressed in the window'
        show=(b64jpegpay quit-key=q ! b64jpegdepay ! "${show[@]}")
    else
        show=("${meter[@]}")
    fi
    # The server sets the pace. Its queue lets the tee run a few frames ahead: to pause, both
    # branches need a frame. The other branch never blocks the tee.
    gst=(-m -v "$@" ! tee name=sent
        sent. ! "${newest[@]}" ! "${show[@]}"
        sent. ! queue max-size-buffers=3 ! b64jpegserversink "${server[@]}")
    handle_other_line() { handle_server "$2" || handle_clients "$2"; }
    launch
    follow
}

invite() {
    say "Serving $input at $(address "$host" "$port"); watch it with: pipelines/watch.sh $1"
}

handle_clients() {
    local address clients
    case $1 in
        b64jpeg-waiting,*)
            announce
            say 'It begins with the first viewer.'
            ;;
        b64jpeg-client-*)
            field address "$1" && address=$value
            field clients "$1" && clients="$value client"
            [[ $value == 1 ]] || clients+=s
            field reason "$1" || value=added
            case $value in
                added) say "+ $address watches ($clients)" ;;
                ended) say "- $address was served to the end ($clients)" ;;
                # The viewer may or may not have read everything.
                left | reset)
                    say "- $address left ($clients)"
                    [[ -z $fast ]] || request_end 'The viewer has left.'
                    ;;
                *) say "- $address was lost: $value ($clients)" ;;
            esac
            ;;
    esac
}

# ---- serving in browsers -----------------------------------------------------
# Shared by web.sh and edge.sh.

unset token    # the token that viewers need; set but empty means none
certificate=() # certificate and key for TLS
per_address=   # maximum number of connections from one address
allowed=       # other sites whose pages may show the frames, separated by commas

guard_options="  --allow SITE  let pages of this site show the video, such as https://example.org; may
                be repeated; 'null' for pages from files, '*' for all pages. Not needed
                for pages that have the token
  --per-address N  accept at most N connections at a time from one address (default
                250); 0 for any number, as behind a proxy, where all share one address"

# guard_option WORD...: parses an option that limits who can watch, with `taken` as above.
guard_option() {
    case $1 in
        --per-address) value_of "$@" && number --per-address "$value" 0 4294967295 && per_address=$value ;;
        --allow)
            value_of "$@"
            [[ $value == '*' || $value == null || $value == http://?* || $value == https://?* ]] ||
                usage_error "--allow takes a site such as https://example.org, or '*', not '$value'"
            allowed+=${allowed:+,}$value
            ;;
        *) return 1 ;;
    esac
}

# Sets `guards` to the server properties for these options, and `scheme` and `query` for its
# URLs.
guard_page() {
    guards=()
    scheme=http
    query=
    # 128 bits.
    [[ -v token ]] || local_only || printf -v token '%08x' "$SRANDOM" "$SRANDOM" "$SRANDOM" "$SRANDOM"
    if [[ -n ${token-} ]]; then
        guards+=("$(property token "$token")")
        query=token=$(percent_encode "$token")
    fi
    [[ -z $per_address ]] || guards+=("max-connections-per-address=$per_address")
    [[ -z $allowed ]] || guards+=("$(property allowed-origins "$allowed")")
    if ((${#certificate[@]})); then
        readable_file "${certificate[0]}"
        readable_file "${certificate[1]}"
        guards+=("$(property tls-certificate "${certificate[0]}")" "$(property tls-key "${certificate[1]}")")
        scheme=https
    fi
}

# handle_viewers LINE: reports viewers that connect and disconnect; fails at other lines.
handle_viewers() {
    local address viewers
    [[ $1 == socketio-viewer-* ]] || return
    field address "$1" && address=$value
    field viewers "$1" && viewers="$value viewer"
    [[ $value == 1 ]] || viewers+=s
    if [[ $1 != socketio-viewer-added,* ]]; then
        say "- $address left ($viewers)"
        return
    fi
    field kind "$1"
    case $value in
        view) say "+ $address watches the page ($viewers)" ;;
        mjpeg) say "+ $address watches stream.mjpg ($viewers)" ;;
        *) say "+ $address watches by Socket.IO ($viewers)" ;;
    esac
}

# ---- receiving --------------------------------------------------------------
# Shared by watch.sh, record.sh and relay-in.sh.

once=
receiver_options="  --once        exit when the stream ends, or at once if there is none, instead of
                waiting for it
$common_options"

receiver_option() {
    case $1 in
        --once) taken=1 && once=yes ;;
        *) common_option "$@" ;;
    esac
}

# Sets `source` to an element that receives from the address in `input`.
receive() {
    input=${input:-localhost}
    parse_address "$input"
    source=(b64jpegclientsrc "$(property host "$host")" "port=$port")
    [[ -z $once ]] || source+=(reconnect=false)
    input=$(address "$host" "$port")
    peer=$input
}

# Ends the script after the stream: the server closed it, or q was pressed in the window.
received() {
    [[ -z $once || $peer_state != @(no|gone) ]] || outcome 'The stream has ended: the server closed it.'
    outcome 'Stopped by q.'
}

# Shared by watch.sh and relay-in.sh.

no_window=
delay=
watch_options="  --delay       print the delay from the camera to this program: the median and the
                99th percentile of the newest frames. Between two machines it is
                only as exact as their clocks. The sender has to add the capture
                time, as serve.sh and relay-out.sh do; the frames of a recording
                are as old as the recording.
  --no-display  open no window; decode every frame, and show the frame rate in
                the terminal
$receiver_options"

watch_option() {
    taken=1
    case $1 in
        --delay) delay=yes ;;
        --no-display) no_window=yes ;;
        *) receiver_option "$@" ;;
    esac
}

# Shows the stream from `source` until it ends.
watch() {
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
    working_message="Watching $input."
    handle_other_line() { handle_connection "$2" || show_delay "$2"; }
    launch
    follow
    received
}

# show_delay LINE: adds the delay to the line with the frame rate.
show_delay() {
    if [[ $1 != *ClientSrc*': stats = '* ]]; then
        return
    elif field delay-median "$1"; then
        [[ -n $delay_shown ]] || say 'The delay is measured from capture at the sender to arrival here: between two machines it is only as exact as their clocks.'
        delay_shown=$value
        field delay-p99 "$1"
        printf -v delay_shown ', delay %.1f ms (99 %%: %.1f ms)' "${delay_shown}e-6" "${value}e-6"
    elif field frames "$1" && ((value > 0)) && [[ -z $delay_shown ]]; then
        delay_shown=' '
        say 'There is no delay to show: the frames have no capture time.'
    fi
}

# ---- connecting -------------------------------------------------------------
# Shared by those scripts and relay-out.sh: a peer they connect to.

connects=ClientSrc # part of the name of the element that connects
connection=b64jpeg-connection # the element message that it posts
working_state=streaming # its state when frames flow
peer=  # the address that it connects to
connected_message= # what to print when it is connected but no frames flow yet
working_message=   # what to print when frames flow
peer_state= # yes: frames flow; no: not yet; gone: they did; empty: unknown

# handle_connection LINE: reports each change of the connection once; fails at other lines.
handle_connection() {
    local cause=
    [[ $1 == "$connection",* ]] || return
    ! field cause "$1" || cause=" ($value)"
    field state "$1"
    case $value,$peer_state in
        "$working_state",gone) peer_state=yes && say "$peer is back." ;;
        "$working_state",*) peer_state=yes && say "$working_message" ;;
        lost,yes) peer_state=gone && say_waiting "has gone$cause; waiting until it is back" ;;
        lost,) peer_state=no && say_waiting "sends no frames$cause; waiting until it does" ;;
        waiting,) peer_state=no && say_waiting "is not there$cause; waiting until it is" ;;
        connected,*) [[ -z $connected_message ]] || say "$connected_message" ;;
    esac
}

# With --once the final message says it.
say_waiting() {
    [[ -n $once ]] || say "$peer $1."
}

# Shared by relay-out.sh and relay-in.sh: a Socket.IO server.

relay=() # properties of the element that connects to the server
relay_options="  --event E     the event that carries the frames (default stream)
  --camera C    the event carries a dict, as with several cameras, and the frame is its
                entry of this name
  --namespace N the Socket.IO namespace (default /)
  --auth JSON   the data with which to authenticate to the server, such as '{\"token\": \"…\"}'
  --ca-file F   certificates to trust in addition to those of the system, in PEM format"

relay_option() {
    taken=2
    case $1 in
        --event | --camera | --namespace | --auth)
            value_of "$@" && relay+=("$(property "${1#--}" "$value")")
            ;;
        --ca-file) value_of "$@" && readable_file "$value" && relay+=("$(property ca-file "$value")") ;;
        *) return 1 ;;
    esac
}

# relay_to URL: connects to URL; http:// may be omitted.
relay_to() {
    peer=$1
    [[ $peer == *://* ]] || peer=http://$peer
    relay=("$(property url "$peer")" "${relay[@]}")
    connection=socketio-connection
}
