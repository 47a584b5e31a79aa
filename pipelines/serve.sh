#!/usr/bin/env bash
# SPDX-License-Identifier: MPL-2.0
# Serves a video over TCP, each frame a JPEG in base64 behind its length.
# shellcheck source=common.sh
. "$(dirname "$(readlink -f "$0")")/common.sh"

host=127.0.0.1
port=$default_port
width=
quality=

usage() {
    cat <<USAGE
Usage: pipelines/$me [OPTION...] SOURCE

Serves SOURCE to any number of viewers and shows what they get in a window.

SOURCE is one of
  a file        any video. It waits for the first viewer, who gets it from the
                first frame, is paced at its own rate, and ends when everybody
                has everything. A viewer that is more than $file_queue frames late
                loses whole frames.
  a URI         rtsp://, http://, https:// ...
  /dev/videoN   a camera, or 'camera' for the first one; the pictures of an
                MJPEG camera are sent as they are, unless --width or --quality
                is given. Here and for every live source, a viewer that is more
                than $live_queue frames late loses whole frames.
  screen        what this X display shows
  test          a moving test picture with a clock
(write ./test for a file of that name)

  --width W     scale to this width, keeping the aspect ratio (default 800);
                0 leaves the size alone
  --quality Q   JPEG quality, 0 to 100 (default 80)
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
        --width) value_of "$@" && number --width "$value" 0 16384 && width=$value && shift 2 ;;
        --quality) value_of "$@" && number --quality "$value" 0 100 && quality=$value && shift 2 ;;
        -?*) server_option "$@" && shift "$taken" ;;
        *)
            [[ -z $input && -n $1 ]] || usage_error 'exactly one SOURCE is needed'
            input=$1
            shift
            ;;
    esac
done
[[ -n $input ]] || usage_error 'exactly one SOURCE is needed'

# Raw pictures become JPEG. The colours come first: videoscale, which would take a change
# of size for one of colours, too, then has nothing to do but to scale.
size=pixel-aspect-ratio=1/1
((${width:-800} == 0)) || size+=,width=${width:-800}
encode=("${true_colours[@]}" ! videoscale ! "video/x-raw,format=I420,$size" ! jpegenc "quality=${quality:-80}")

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
    media=(v4l2src "device=$input" !)
    if ! grep -qx MJPG <<<"$(formats "$input")"; then
        media+=("${newest[@]}" ! "${encode[@]}")
    elif [[ -z $width$quality ]]; then
        media+=(image/jpeg ! "${newest[@]}")
    else
        media+=(image/jpeg ! "${newest[@]}" ! jpegdec ! "${encode[@]}")
    fi
}

screen() {
    have_display || die "the screen cannot be shown: $no_display"
    [[ -n ${DISPLAY:-} ]] || die 'the screen cannot be shown: Wayland lets nobody capture it, only an X display does'
    [[ -z ${WAYLAND_DISPLAY:-} ]] || complain 'warning: on Wayland only the windows of X programs can be seen'
    # Without damage tracking the frames come at a steady rate.
    media=(ximagesrc use-damage=false ! 'video/x-raw,framerate=25/1' ! "${newest[@]}" ! "${encode[@]}")
}

# Sound would be decoded for nothing.
only_pictures=(expose-all-streams=false 'caps=video/x-raw(ANY)')

prepare
case $input in
    camera | /dev/video*) live=yes && camera ;;
    screen) live=yes && screen ;;
    test)
        live=yes
        media=(videotestsrc is-live=true "${test_picture[@]}" ! "${newest[@]}" ! "${encode[@]}")
        ;;
    rtsp://* | rtsps://*)
        live=yes
        media=(rtspsrc "$(property location "$input")" latency=100 ! 'application/x-rtp,media=video' !
            decodebin "${only_pictures[@]}" ! "${newest[@]}" ! "${encode[@]}")
        ;;
    *://*) media=(uridecodebin "$(property uri "$input")" "${only_pictures[@]}" ! "${encode[@]}") ;;
    *)
        readable_file "$input"
        media=(uridecodebin "uri=$(file_uri "$input")" "${only_pictures[@]}" ! "${encode[@]}")
        ;;
esac

# For those who want to know the delay; other viewers do not notice.
server=(capture-time=true)
serve "${media[@]}"
outcome "The video has ended${or_key:-}."
