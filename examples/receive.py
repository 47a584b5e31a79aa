#!/usr/bin/python3
# SPDX-License-Identifier: MPL-2.0
"""Receives the frames of a server, instead of a client with cv2.imdecode.

    apt install python3-gi gir1.2-gst-plugins-base-1.0
    eval "$(pipelines/setup.sh)"        # tells GStreamer where the plugin is
    examples/receive.py [HOST[:PORT]]   # localhost:9999; ends with the stream, or Ctrl-C
"""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstApp", "1.0")
from gi.repository import GLib, Gst, GstApp  # noqa: E402, F401 (GstApp adds methods to the sink)


def pictures(address):
    """Yields width, height and BGR bytes of the newest frame; older ones are dropped.

    For OpenCV: numpy.frombuffer(data, numpy.uint8).reshape(height, width, 3).
    """
    pipeline = Gst.parse_launch(
        f"b64jpeg://{address}?reconnect=false ! jpegdec ! videoconvert"
        " ! video/x-raw,format=BGR ! appsink name=sink sync=false max-buffers=1 drop=true"
    )
    sink = pipeline.get_by_name("sink")
    bus = pipeline.get_bus()
    ends = Gst.MessageType.ERROR | Gst.MessageType.EOS
    pipeline.set_state(Gst.State.PLAYING)
    try:
        # Python handles Ctrl-C between two calls, so none of them may block for long.
        while not (end := bus.pop_filtered(ends)):
            if sample := sink.try_pull_sample(Gst.SECOND // 10):
                caps = sample.get_caps().get_structure(0)
                width, height = caps.get_value("width"), caps.get_value("height")
                buffer = sample.get_buffer()
                data = buffer.extract_dup(0, buffer.get_size())
                # GStreamer pads rows to multiples of four bytes.
                rows = range(0, len(data), len(data) // height)
                yield width, height, b"".join(data[row : row + 3 * width] for row in rows)
        if end.type == Gst.MessageType.ERROR:
            raise end.parse_error().gerror
    finally:
        pipeline.set_state(Gst.State.NULL)


def main():
    Gst.init(None)
    address = sys.argv[1] if len(sys.argv) > 1 else "localhost"
    try:
        for number, (width, height, data) in enumerate(pictures(address)):
            print(f"picture {number}: {width}x{height}, brightness {sum(data) // len(data)}", flush=True)
    except GLib.Error as error:
        sys.exit(error.message)
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
