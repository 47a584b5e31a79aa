# SPDX-License-Identifier: MPL-2.0
"""Options of the relays in Python."""

import argparse
import urllib.parse


def arguments(description):
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--path", default="/socket.io", help="of the URL")
    parser.add_argument("--namespace", default="/")
    parser.add_argument("--event", default="stream")
    parser.add_argument("--auth", metavar="TOKEN", help="refuse clients without it")
    parser.add_argument("--certificate", metavar="FILE", help="certificate chain for TLS")
    parser.add_argument("--key", metavar="FILE")
    parser.add_argument("--cors", action="store_true", help="pages from anywhere may connect")
    parser.add_argument("--max-http-buffer-size", type=int)
    parser.add_argument("--ping-interval", type=float, help="in seconds; a pong may take one")
    return parser


def options(args):
    """Arguments for the server that differ from its defaults."""
    options = {}
    if args.cors:
        options["cors_allowed_origins"] = "*"
    if args.max_http_buffer_size:
        options["max_http_buffer_size"] = args.max_http_buffer_size
    if args.ping_interval:
        options |= {"ping_interval": args.ping_interval, "ping_timeout": 1}
    return options


def is_authorised(args, auth):
    return not args.auth or (isinstance(auth, dict) and auth.get("token") == args.auth)


def report(query):
    """Prints the query of a client's URL without the parameters of the protocol."""
    pairs = urllib.parse.parse_qsl(query)
    own = {"EIO", "transport", "sid", "t", "b64"}
    print("client", urllib.parse.urlencode([pair for pair in pairs if pair[0] not in own]), flush=True)
