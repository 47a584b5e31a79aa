// SPDX-License-Identifier: MPL-2.0

/* Serves a video and reports its clients; a client that cannot keep up skips frames.
 *
 *   cc examples/serve.c -o serve $(pkg-config --cflags --libs gstreamer-1.0)
 *   eval "$(pipelines/setup.sh)"   # tells GStreamer where the plugin is
 *   ./serve FILE [PORT [HOST]]     # 9999 127.0.0.1; Ctrl-C ends it
 */
#include <glib-unix.h>
#include <gst/gst.h>
#include <stdlib.h>

#define PIPELINE "filesrc name=file ! decodebin " \
    "! videoconvert ! jfifconvert ! jpegenc " \
    "! b64jpegserversink name=server wait-for-client=true"

static GError *error;

/* Both signal handlers run in a thread of the server. */
static void
client_added (GstElement *server, const char *address)
{
  g_print ("%s: %s connected\n", GST_OBJECT_NAME (server), address);
}

static void
client_removed (GstElement *server, const char *address, const char *reason)
{
  g_print ("%s: %s disconnected: %s\n", GST_OBJECT_NAME (server), address, reason);
}

static void
failed (GMainLoop *loop, GstMessage *message)
{
  char *debug;
  gst_message_parse_error (message, &error, &debug);
  gst_object_default_error (GST_MESSAGE_SRC (message), error, debug);
  g_main_loop_quit (loop);
}

static gboolean
interrupted (gpointer loop)
{
  g_main_loop_quit (loop);
  return G_SOURCE_REMOVE;
}

int
main (int argc, char *argv[])
{
  int port;

  gst_init (&argc, &argv);
  GstElement *pipeline = gst_parse_launch (PIPELINE, &error);
  if (error || argc < 2) {
    g_printerr ("%s\n", error ? error->message : "Usage: serve FILE [PORT [HOST]]");
    return 2;
  }
  gst_child_proxy_set (GST_CHILD_PROXY (pipeline), "file::location", argv[1],
      "server::port", argc > 2 ? atoi (argv[2]) : 9999,
      "server::host", argc > 3 ? argv[3] : "127.0.0.1", NULL);
  GstElement *server = gst_bin_get_by_name (GST_BIN (pipeline), "server");
  g_signal_connect (server, "client-added", G_CALLBACK (client_added), NULL);
  g_signal_connect (server, "client-removed", G_CALLBACK (client_removed), NULL);
  GMainLoop *loop = g_main_loop_new (NULL, FALSE);
  GstBus *bus = gst_element_get_bus (pipeline);
  gst_bus_add_signal_watch (bus);
  g_signal_connect_swapped (bus, "message::eos", G_CALLBACK (g_main_loop_quit), loop);
  g_signal_connect_swapped (bus, "message::error", G_CALLBACK (failed), loop);
  g_unix_signal_add (SIGINT, interrupted, loop);
  if (gst_element_set_state (pipeline, GST_STATE_PLAYING) != GST_STATE_CHANGE_FAILURE) {
    g_object_get (server, "current-port", &port, NULL);
    g_print ("Serving on port %d\n", port);
  }
  g_main_loop_run (loop);
  gst_element_set_state (pipeline, GST_STATE_NULL);
  return error != NULL;
}
