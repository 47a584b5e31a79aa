# SPDX-License-Identifier: MPL-2.0
# shellcheck shell=bash disable=SC2034 # variables used only by those who source it
#
# What the scripts in this directory share. Sourced, never run.
#
# A script builds the array `gst`, the arguments of gst-launch-1.0, and calls
# `launch`, which prints the line, and `follow`, which runs until it has ended:
# it turns GStreamer's output into sentences, reads the keyboard, and leaves no
# process behind.

set -euo pipefail
# GStreamer's messages are read below: untranslated, with file names in any script.
export LC_ALL=C.UTF-8 LANGUAGE=

me=${0##*/}
here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
root=$(dirname "$here")
plugin_file=libgstb64jpeg.so
# Holds the plugin and nothing else: GStreamer scans plugin directories
# recursively, and would load every procedural macro in cargo's own.
plugin_dir=$(realpath -ms -- "${B64JPEG_PLUGIN_DIR:-${CARGO_TARGET_DIR:-$root/target}/gstreamer-1.0}")
case :${GST_PLUGIN_PATH:-}: in
    *:"$plugin_dir":*) ;;
    *) export GST_PLUGIN_PATH=$plugin_dir${GST_PLUGIN_PATH:+:$GST_PLUGIN_PATH} ;;
esac
# What setup.sh --zenoh and --router make.
zenoh_dir=$(realpath -ms -- "${B64JPEG_ZENOH_DIR:-${CARGO_TARGET_DIR:-$root/target}/zenoh}")

default_port=9999
default_web_port=8080
# Frames that may wait for one slow viewer before whole frames are dropped for it,
# and how long all may take to read the last ones when a file has ended.
live_queue=25
file_queue=250
file_patience=60000000000
# Keeps nothing but the newest frame.
newest=(queue leaky=downstream max-size-buffers=1)
# Raw pictures in the colours that JPEG means, full range and BT.601; without it viewers
# see washed-out pictures. videoconvert passes on what jfifconvert takes, and makes that
# of the rest, such as pictures of 10 bits.
true_colours=(videoconvert ! jfifconvert)
# What videotestsrc is to show: moving colours, and a clock to measure delay with.
# It would promise full range and not keep the promise, so it is not asked for that.
test_picture=(pattern=smpte horizontal-speed=4 !
    'video/x-raw,format=I420,colorimetry=bt709,width=1280,height=720,framerate=30/1' ! timeoverlay)

# What the user asked for; the messages below name it.
host=
port=
input=
inputs=() # if there are several: those of the elements source0, source1, ...
dry_run=

# ---- words ------------------------------------------------------------------

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

# One line that is rewritten in place on a terminal and printed again elsewhere.
status_shown=
show_status() {
    if [[ -t 1 ]]; then
        # Cut off at the edge, because nobody could rewrite two lines.
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

# Sets `words` to the arguments with --option=value taken apart.
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

# value_of OPTION [VALUE]...: sets `value` to what follows an option.
value_of() {
    (($# > 1)) || usage_error "$1 needs a value"
    value=$2
}

# Options are read by functions that set `taken` to the number of words they have used, or
# fail at an option that is none of theirs. This one comes last.
common_options="  --dry-run     print the gst-launch-1.0 line and do nothing else
  --help        this text"

common_option() {
    taken=1
    case $1 in
        --dry-run) dry_run=yes ;;
        --help) usage && exit ;;
        *) usage_error "there is no option $1" ;;
    esac
}

# number NAME VALUE LEAST MOST
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

# An address as people write it.
address() {
    [[ $1 == *:* ]] && printf '[%s]:%s' "$1" "$2" || printf '%s:%s' "$1" "$2"
}

# percent_encode TEXT: every byte that is not plain, as URIs want it.
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

# file_uri PATH
file_uri() {
    printf 'file://%s' "$(percent_encode "$(realpath -ms -- "$1")")"
}

# property NAME VALUE: as the pipeline parser of gst-launch-1.0 reads it.
property() {
    local value=$2
    if [[ ! $value =~ ^[A-Za-z0-9_./:@%+,=-]+$ ]]; then
        value=${value//\\/\\\\}
        value=\"${value//\"/\\\"}\"
    fi
    printf '%s=%s' "$1" "$value"
}

# readable_file PATH: or one sentence why not.
readable_file() {
    [[ -z $dry_run ]] || return 0
    [[ -e $1 ]] || die "there is no file '$1'"
    [[ ! -d $1 ]] || die "'$1' is a directory, not a file"
    [[ -r $1 ]] || die "'$1' cannot be read: permission denied"
}

# ---- processes --------------------------------------------------------------

declare -A pids=() logs=() partial=() exit_status=()
saved_terminal=
ending=   # why it ends, once somebody has asked for it
failure=  # the first error, as a sentence
disk_full= # whether that is what it says
asked_at= # when the children were asked to end
death=INT # what they are sent when this script dies
patience=4000 # milliseconds that they have for it
scratch=  # a temporary directory, if there is one

trap finish EXIT
trap 'request_end "Stopped."' INT TERM HUP

# start NAME COMMAND...: runs it as a child of ours that is out of the reach of
# the terminal's Ctrl-C, which arrives here, and that never outlives us.
start() {
    local name=$1 log
    shift
    exec {log}< <(exec setsid setpriv --pdeathsig "$death" "$@" 2>&1)
    pids[$name]=$!
    logs[$name]=$log
    partial[$name]=
}

# Sets `now`, in milliseconds.
look_at_clock() {
    now=${EPOCHREALTIME/./}
    now=${now%???}
}

signal_children() {
    local name
    for name in "${!pids[@]}"; do
        kill "-$1" "${pids[$name]}" 2>/dev/null || :
    done
}

# request_end SENTENCE: the first reason counts.
request_end() {
    ending=${ending:-$1}
}

# Ends the children: politely, so that a file is finished, then less so.
press_end() {
    look_at_clock
    if [[ -z $asked_at ]]; then
        asked_at=$now
        signal_children INT
    elif ((now - asked_at > patience + 2000)); then
        signal_children KILL
    elif ((now - asked_at > patience)); then
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
        look_at_clock
        started=$now
        for name in "${!pids[@]}"; do
            while kill -0 "${pids[$name]}" 2>/dev/null; do
                look_at_clock
                ((now - started < 2000)) || kill -KILL "${pids[$name]}" 2>/dev/null || :
                sleep 0.05
            done
        done
    fi
    [[ -z $scratch ]] || rm -rf -- "$scratch"
    exit "$status"
}

# The keyboard is ours while we are in the foreground of a terminal.
own_keyboard() {
    local stat
    [[ -t 0 ]] || return 1
    read -r stat <"/proc/$$/stat"
    # After the name: state, parent, group, session, terminal, its foreground group.
    read -r -a stat <<<"${stat##*) }"
    [[ ${stat[2]} == "${stat[5]}" ]]
}

read_keyboard() {
    local key
    own_keyboard || return 0
    if [[ -z $saved_terminal ]]; then
        # A Ctrl-C would end it as well.
        saved_terminal=$(stty -g) || return 0
        stty -icanon -echo || return 0
    fi
    while read -r -t 0; do
        # A Ctrl-D typed before the terminal was ours is there and cannot be read.
        read -r -N 1 -t 0.1 key || return 0
        [[ $key != [qQ] ]] || request_end 'Stopped by q.'
    done
}

# follow: until every child has ended, and none `is_due`. Calls `heard NAME LINE` for each
# line a child prints, `ended NAME`, and `passing` now and then; a script may replace them.
passing() { :; }
is_due() { false; }
follow() {
    local name line log turns status idle never
    exec {never}<> <(:) # nothing comes out of it
    while ((${#logs[@]})) || is_due; do
        idle=yes
        for name in "${!logs[@]}"; do
            log=${logs[$name]}
            # So many in a row, because others want to be heard, too.
            for ((turns = 0; turns < 100; ++turns)); do
                read -r -t 0 -u "$log" || break
                idle=
                status=0
                IFS= read -r -t 0.1 -u "$log" line || status=$?
                partial[$name]+=$line
                if ((status == 0)); then
                    line=${partial[$name]}
                    partial[$name]=
                    heard "$name" "$line"
                elif ((status > 128)); then
                    # No line of anybody's is that long.
                    ((${#partial[$name]} < 1000000)) || partial[$name]=
                else # end of file
                    exec {log}<&-
                    exit_status[$name]=0
                    wait "${pids[$name]}" || exit_status[$name]=$?
                    unset "logs[$name]" "pids[$name]" "partial[$name]"
                    ended "$name"
                    break
                fi
            done
        done
        read_keyboard
        passing
        [[ -z $ending$failure ]] || press_end
        [[ -z $idle ]] || read -r -t 0.1 -u "$never" || :
    done
    exec {never}<&-
    clear_status
}

ended() { conclude "$1"; }

# conclude NAME: what its end means.
conclude() {
    speaker=${speakers[ERROR]-}
    [[ -z ${messages[ERROR]-} ]] || fail "${messages[ERROR]}" ''
    # A crash counts also when the end was asked for already.
    ((exit_status[$1])) && [[ -z $failure ]] || return 0
    describe_end "$1"
    [[ -n $ending && -z $crash ]] || failure="$text; it last said: $last_line"
    [[ -z $crash ]] || ending=
}

# describe_end NAME: sets `text` to how a child failed, and `crash` to the signal if a fault
# of its own killed it.
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
        KILL) text+=": it was killed; when memory runs out the system does that, and 'dmesg' names it" ;;
        XFSZ) text+=': a file has reached the size limit (ulimit -f)' ;;
    esac
}

# ---- display ----------------------------------------------------------------

# Whether a window can be opened; otherwise sets `no_display` to the reason.
# An X display is asked, by a client that then stays: Xvfb starts all over when
# its last client leaves, which trips autovideosink, as that comes and goes twice.
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
    unset 'logs[display]' # nobody needs to follow it
    # A display behind a dead connection never answers.
    while read -r -t 10 line <&"$log"; do
        [[ $line != *PLAYING* ]] || return 0
    done
    kill -KILL "${pids[display]}" 2>/dev/null || :
    unset 'pids[display]'
    no_display="the display '$DISPLAY' cannot be opened"
    return 1
}

# window TITLE: sets `show` to what shows JPEG and its frame rate in a window.
# Without a clock, because a sink that is late by it has decoders drop frames: those
# before the server, too. By way of RGB, because Xv and GL take no pictures of full range
# for what they are; and exactly, or white would not be white.
window() {
    show=(jpegdec idct-method=islow ! videoconvert ! 'video/x-raw,format=BGRx' ! videoconvert !
        taginject "tags=title=$1" ! fpsdisplaysink video-sink=autovideosink sync=false)
}

# What only measures the frame rate.
meter=(fpsdisplaysink text-overlay=false video-sink=fakesink sync=false)

# ---- gst-launch-1.0 ---------------------------------------------------------

# shell_line WORD...: what to paste into a shell to run the same.
shell_line() {
    local word line=
    for word; do
        [[ $word =~ ^([A-Za-z0-9_./:@%+,=-]+|!)$ ]] || word=${word@Q}
        line+=" $word"
    done
    printf '%s' "${line# }"
}

# launch: prints the line for `gst`, then starts it, unless `dry_run` is set.
launch() {
    say "GST_PLUGIN_PATH=$(shell_line "$GST_PLUGIN_PATH") $(shell_line gst-launch-1.0 "${gst[@]}")"
    [[ -z $dry_run ]] || exit 0
    # -f: its own handler would catch a crash and spin for ever.
    start gst-launch-1.0 gst-launch-1.0 -f "${gst[@]}" </dev/null
    ! own_keyboard || say 'q or Ctrl-C ends it.'
}

# Builds what is needed; silent when there is nothing to do.
needed=() # options of setup.sh
prepare() {
    [[ -n $dry_run ]] || "$here/setup.sh" "${needed[@]}" >/dev/null || exit
}

window_closed='The window was closed.'

# What `heard` has read of messages that are not complete yet, and what comes next.
# Two threads print them: a warning may come between the lines of an error.
declare -A messages=() speakers=() # by level
level=
speaker= # the element that the last complete one is from
expected=
last_line=

heard() { understand "$@"; }

# understand NAME LINE: what gst-launch-1.0 says.
understand() {
    # What goes before a message says nothing more; an error may come in between.
    local line=${2#'buffering...'*$'\r'}
    line=${line#'Got message #'*'): '}
    if [[ $expected == place ]]; then
        # "file(line): function (): /path:", the colon announcing one more line.
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
        # A window that is destroyed from outside takes its program down with it.
        'X Error of failed request'* | 'X connection to '*' broken'* | *'fatal IO error'*)
            request_end "$window_closed"
            ;;
        'Missing element: '* | 'Missing decoder: '*) missing "${line#*: }" ;;
        *) heard_more "$1" "$line" ;;
    esac
    last_line=$line
}

# The lines only some scripts understand.
heard_more() { :; }

# field NAME LINE: sets `value` to a field of a structure as GStreamer prints it.
field() {
    value=
    [[ $2 =~ ,\ $1=\([A-Za-z0-9]+\)(\"([^\"\\]|\\.)*\"|[^,\;]*) ]] || return 1
    value=${BASH_REMATCH[1]#\"}
    printf -v value %b "${value%\"}"
    value=${value//\\/}
}

# report DETAIL: the message is complete. An error ends everything, a warning is
# passed on.
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
        # It is told in words where it matters: what has no decoder, who is not there.
        'No decoder available'*) ;;
        *'; trying again until it '*) [[ -n $peer && $speaker == *"$connects"* ]] || complain "warning: $text" ;;
        *) [[ -n $ending ]] || complain "warning: $text" ;;
    esac
}

# whole_text MESSAGE DETAIL: sets `text` to both, or to the one that says it all. As
# `explain` without a substitution, which a Ctrl-C would end, and us with it.
whole_text() {
    if [[ ${1,,} == *"${2,,}"* ]]; then
        text=$1
    elif [[ ${2,,} == *"${1,,}"* ]]; then
        text=$2
    else
        text="$1 ($2)"
    fi
}

# fail MESSAGE DETAIL: keeps the first error, which is the cause of the others.
fail() {
    [[ -z $failure && -z $ending ]] || return 0
    case "$1 $2" in
        *'Output window was closed'*) request_end "$window_closed" ;;
        *) explain "$1" "$2" ;;
    esac
}

# missing WHAT: says what to install for the formats of people's videos.
missing() {
    [[ $1 != *'(audio/'* ]] || return 0
    failure="GStreamer has nothing here that decodes ${1%% (*}; installing gstreamer1.0-libav or gstreamer1.0-plugins-ugly may help"
}

# show_rate "N, dropped: D, current: C, average: A", twice a second.
rates=0
delay_shown=
show_rate() {
    # The average counts the time in which nobody was there, too.
    [[ $1 =~ ^([0-9]+),.*current:\ ([0-9.]+) ]] || return 0
    # A log gets a line each second.
    [[ -t 1 ]] || ((rates++ % 2 == 0)) || return 0
    show_status "${BASH_REMATCH[2]} frames/s (${BASH_REMATCH[1]} frames)$delay_shown"
}

# explain MESSAGE DETAIL: sets `failure` to one sentence that says what to do.
explain() {
    local message=$1 detail=$2 text
    # One of several.
    [[ ! $speaker =~ :source([0-9]+) ]] || input=${inputs[BASH_REMATCH[1]]}
    case "$message $detail" in
        'Cannot listen on '*)
            failure=$message ;;
        *'no element "socketio'*)
            failure="the plugin in $plugin_dir was built without the Cargo feature 'web'; build it with that, as pipelines/setup.sh does" ;;
        *'no element "b64jpeg'*)
            failure="GStreamer does not find our plugin in $plugin_dir; run pipelines/setup.sh" ;;
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
            failure="$input cannot be opened, or broke off" ;;
        *)
            whole_text "$message" "$detail"
            [[ $speaker == *SocketIo* || $text == *"$input"* ]] || text="$input: $text"
            failure=$text
            ;;
    esac
}

# outcome SENTENCE: ends the script; SENTENCE if the stream came to its own end.
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
# What serve.sh, web.sh and relay-out.sh take pictures from.

live=
width=
quality=
as_asked=() # the options, for another script
source_kinds="SOURCE is one of
  a file        any video
  a URI         rtsp://, http://, https:// ...; b64jpeg://HOST:PORT is what a server of
                length-prefixed base64 JPEG sends
  /dev/videoN   a camera, or 'camera' for the first one
  screen        what this X display shows
  test          a moving test picture with a clock
(write ./test for a file of that name). What is JPEG already, as from an MJPEG camera,
is sent as it is, unless --width or --quality is given."
source_options="  --width W     scale to this width, keeping the aspect ratio (default 800);
                0 leaves the size alone
  --quality Q   JPEG quality, 0 to 100 (default 80)"

source_option() {
    taken=2
    case $1 in
        --width) value_of "$@" && number --width "$value" 0 16384 && width=$value ;;
        --quality) value_of "$@" && number --quality "$value" 0 100 && quality=$value ;;
        *) return 1 ;;
    esac
    as_asked+=("$1=$value")
}

# Whether the source in `input` goes on for ever.
is_live() {
    [[ $input == @(camera|/dev/video*|screen|test|rtsp://*|rtsps://*|b64jpeg://*) ]]
}

# Sets `media` to what makes JPEGs out of the source in `input`, and `live` if it is.
find_media() {
    # Sound would be decoded for nothing. A file is decoded and encoded at the same time.
    local size=pixel-aspect-ratio=1/1 encode in_turn=(queue max-size-buffers=3) \
        only_pictures=(expose-all-streams=false 'caps=video/x-raw(ANY)')
    # Raw pictures become JPEG. The colours come first: videoscale, which would take a change
    # of size for one of colours, too, then has nothing to do but to scale.
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
        *://*) media=(uridecodebin "$(property uri "$input")" "${only_pictures[@]}" ! "${in_turn[@]}" ! "${encode[@]}") ;;
        *)
            readable_file "$input"
            media=(uridecodebin "uri=$(file_uri "$input")")
            if [[ -z $width$quality ]] && has_jpegs "$input"; then
                media+=(expose-all-streams=false caps=image/jpeg)
            else
                media+=("${only_pictures[@]}" ! "${in_turn[@]}" ! "${encode[@]}")
            fi
            ;;
    esac
}

# Adds what becomes of JPEGs that are there already.
add_jpegs() {
    media+=(! "${newest[@]}")
    [[ -z $width$quality ]] || media+=(! jpegdec ! "${encode[@]}")
}

# has_jpegs FILE: whether its pictures are JPEGs that can be sent as they are.
has_jpegs() {
    local kinds
    kinds=$(gst-discoverer-1.0 "$(file_uri "$1")" 2>/dev/null | sed -n 's/^ *video[^:]*: //p')
    [[ $kinds == JPEG ]]
}

# formats DEVICE: the names of the picture formats of a camera.
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
    [[ -c $input ]] || die "there is no camera $input; 'camera' takes the first one that is there"
    [[ -r $input && -w $input ]] || die "you may not use $input; join the group video: sudo usermod -aG video \$USER, and log in again"
    media=(v4l2src "device=$input")
    if grep -qx MJPG <<<"$(formats "$input")"; then
        media+=(! image/jpeg)
        add_jpegs
    else
        media+=(! "${newest[@]}" ! "${encode[@]}")
    fi
}

screen() {
    have_display || die "the screen cannot be shown: $no_display"
    [[ -n ${DISPLAY:-} ]] || die 'the screen cannot be shown: Wayland lets nobody capture it, only an X display does'
    [[ -z ${WAYLAND_DISPLAY:-} ]] || complain 'warning: on Wayland only the windows of X programs can be seen'
    # Without damage tracking the frames come at a steady rate.
    media=(ximagesrc use-damage=false ! 'video/x-raw,framerate=25/1' ! "${newest[@]}" ! "${encode[@]}")
}

# ---- serving ----------------------------------------------------------------
# What serve.sh, replay.sh and web.sh have in common.

clients=
loop=
listen_options="  --clients N   serve no more than N viewers at a time, and turn others away
  --loop        begin again at the end"

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

# Whether nobody else reaches what is served.
only_here() {
    [[ $host == 127.* || $host == localhost || $host == ::1 ]]
}

# `host` for others, to whom every address is none.
reachable() {
    local from=$host
    # Its name is not known in every network.
    [[ $host != 0.0.0.0 && $host != :: ]] || read -r from _ < <(hostname -I) || from=$HOSTNAME
    printf '%s' "$from"
}

# heard_server LINE: what every server tells; fails at what is said by one of them.
heard_server() {
    case $1 in
        *ServerSink*': current-port = '[1-9]*) port=${1##* } ;;
        *'etting pipeline to PLAYING'*) announce ;;
        *) return 1 ;;
    esac
}

# Says where the stream is, once it is there, with `invite ADDRESS` of each script.
announced=
announce() {
    [[ -z $announced ]] || return 0
    announced=yes
    invite "$(address "$(reachable)" "$port")"
    ! only_here || say 'Only this machine can watch; --host 0.0.0.0 lets others watch as well.'
}

# ---- serving over TCP -------------------------------------------------------
# What serve.sh and replay.sh have in common.

fast=
no_preview=
server=() # properties of its own
server_options="  --host H      the address to listen on: 127.0.0.1 (default), only this machine;
                0.0.0.0 or ::, every address it has. Plain TCP is not encrypted:
                whoever can reach the port can watch.
  --port P      the port (default $default_port); 0 picks a free one and prints it
$listen_options
  --fast        as fast as the viewer reads instead of at the video's own rate,
                for one viewer: it gets every frame from the first to the last
  --no-preview  no window; the frame rate is shown in the terminal
$common_options"

server_option() {
    taken=1
    case $1 in
        --fast) fast=yes ;;
        --no-preview) no_preview=yes ;;
        *) listen_option "$@" || common_option "$@" ;;
    esac
}

# serve ELEMENT...: sends the JPEG frames that these elements make.
serve() {
    [[ -z $live || -z $fast$loop ]] || usage_error "--fast and --loop are for files; $input is live"
    [[ -z $fast || -z $clients ]] || usage_error '--fast is for one viewer'
    server+=("$(property host "$host")" "port=$port")
    if [[ -n $live ]]; then
        server+=(sync=false "queue-frames=$live_queue")
    else
        server+=(wait-for-client=true "queue-frames=$file_queue" "drain-timeout=$file_patience")
    fi
    [[ -z $fast ]] || server+=(max-clients=1 sync=false)
    [[ -z $clients ]] || server+=("max-clients=$clients")
    [[ -z $loop ]] || server+=(loop=true)
    if [[ -z $no_preview ]] && ! have_display; then
        say "No preview: $no_display."
        no_preview=yes
    fi

    # The preview shows what viewers get: the frames as they are sent, decoded.
    # A key pressed in it travels upstream, and q makes b64jpegpay end the stream.
    if [[ -z $no_preview ]]; then
        window TRANSMITIENDO
        or_key=', or q was pressed in the window'
        show=(b64jpegpay quit-key=q ! b64jpegdepay ! "${show[@]}")
    else
        show=("${meter[@]}")
    fi
    # The server sets the pace, a few frames behind the tee: in a pause both branches
    # need a frame. The other one never holds anything back.
    gst=(-m -v "$@" ! tee name=sent
        sent. ! "${newest[@]}" ! "${show[@]}"
        sent. ! queue max-size-buffers=3 ! b64jpegserversink "${server[@]}")
    heard_more() { heard_server "$2" || heard_clients "$2"; }
    launch
    follow
}

invite() {
    say "Serving $input at $(address "$host" "$port"); watch it with: pipelines/watch.sh $1"
}

heard_clients() {
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
                # With or without having read everything.
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
# What web.sh and edge.sh have in common.

unset token    # who watches has to know it; there may be an empty one
certificate=() # and its key, if what is served is to be encrypted
per_address=   # connections that one address may have
allowed=       # other sites whose pages may show what is served, with commas between them

guard_options="  --allow SITE  let pages of this site show the pictures, as https://example.org; may be
                given again; 'null' for pages from files, '*' for every page. Not needed
                where pages have the token
  --per-address N  let one address have no more than N connections at a time (default
                250); 0 for any number, as behind a proxy, from whose address all come"

# guard_option WORD...: takes an option that limits who watches; fails if the first word is
# none. `taken` is how many words it was.
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

# Sets `guards`, properties of a server, to what these say, and `scheme` and `query` for
# its URLs.
guard_page() {
    guards=()
    scheme=http
    query=
    # 128 bits.
    [[ -v token ]] || only_here || printf -v token '%08x' "$SRANDOM" "$SRANDOM" "$SRANDOM" "$SRANDOM"
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

# heard_viewers LINE: who comes and goes; fails at other lines.
heard_viewers() {
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
# What watch.sh, record.sh and relay-in.sh have in common.

once=
receiver_options="  --once        end with the stream, or at once if there is none, instead of waiting
                until it is there, and there again
$common_options"

receiver_option() {
    case $1 in
        --once) taken=1 && once=yes ;;
        *) common_option "$@" ;;
    esac
}

# Sets `source` to what receives from the address in `input`.
receive() {
    input=${input:-localhost}
    parse_address "$input"
    source=(b64jpegclientsrc "$(property host "$host")" "port=$port")
    [[ -z $once ]] || source+=(reconnect=false)
    input=$(address "$host" "$port")
    peer=$input
}

# How a stream ends that nobody waits for any more: by the server, or by q in the window.
received() {
    [[ -z $once || $there != @(no|gone) ]] || outcome 'The stream has ended: the server closed it.'
    outcome 'Stopped by q.'
}

# What watch.sh and relay-in.sh have in common.

no_window=
delay=
watch_options="  --delay       print how long the pictures take from the camera to this program:
                the median and the 99th percentile of the newest ones. Between two
                machines it is as right as their clocks are. The sender has to
                stamp its pictures, as serve.sh and relay-out.sh do; those of a
                recording are as old as it is.
  --no-display  no window; every frame is decoded, and the frame rate shown in
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

# Shows what comes from `source` until it ends.
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
    hello="Watching $input."
    heard_more() { heard_connection "$2" || show_delay "$2"; }
    launch
    follow
    received
}

# show_delay LINE: adds it to the frame rate.
show_delay() {
    if [[ $1 != *ClientSrc*': stats = '* ]]; then
        return
    elif field delay-median "$1"; then
        [[ -n $delay_shown ]] || say 'The delay is from the capture there to the arrival here: on two machines it is as right as their clocks.'
        delay_shown=$value
        field delay-p99 "$1"
        printf -v delay_shown ', delay %.1f ms (99 %%: %.1f ms)' "${delay_shown}e-6" "${value}e-6"
    elif field frames "$1" && ((value > 0)) && [[ -z $delay_shown ]]; then
        delay_shown=' '
        say 'There is no delay to show: the pictures tell no time of capture.'
    fi
}

# ---- connecting -------------------------------------------------------------
# What those scripts and relay-out.sh have in common: somebody they connect to.

connects=ClientSrc # the element that does, and what it posts
connection=b64jpeg-connection
working=streaming # its state when it does what it is for
peer=  # whom it connects to
greeting= # what to say when it is there but does not work yet
hello= # what to say when it works
there= # whether it does: yes, no, gone, or nothing yet

# heard_connection LINE: says how it stands, once for each change; fails at other lines.
heard_connection() {
    local cause=
    [[ $1 == "$connection",* ]] || return
    ! field cause "$1" || cause=" ($value)"
    field state "$1"
    case $value,$there in
        "$working",gone) there=yes && say "$peer is back." ;;
        "$working",*) there=yes && say "$hello" ;;
        lost,yes) there=gone && wait_for "has gone$cause; waiting until it is back" ;;
        lost,) there=no && wait_for "gives no pictures$cause; waiting until it does" ;;
        waiting,) there=no && wait_for "is not there$cause; waiting until it is" ;;
        connected,*) [[ -z $greeting ]] || say "$greeting" ;;
    esac
}

# Where it is not waited for, the outcome says it all.
wait_for() {
    [[ -n $once ]] || say "$peer $1."
}

# What relay-out.sh and relay-in.sh have in common: a Socket.IO server.

relay=() # properties of the element that connects to it
relay_options="  --event E     the event that carries the pictures (default stream)
  --camera C    the pictures are a dict's entry of this name, as with several cameras,
                instead of a string
  --namespace N the Socket.IO namespace (default /)
  --auth JSON   what the server wants to know of those who connect, as '{\"token\": \"…\"}'
  --ca-file F   certificates to trust, in PEM format, besides those of the system"

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

# relay_to URL: http:// may be left out.
relay_to() {
    peer=$1
    [[ $peer == *://* ]] || peer=http://$peer
    relay=("$(property url "$peer")" "${relay[@]}")
    connection=socketio-connection
}
