# SPDX-License-Identifier: MPL-2.0
"""Options and connection of the Socket.IO clients in Python."""

import json

import requests
import socketio


def add_arguments(parser):
    parser.add_argument("--namespace", default="/")
    parser.add_argument("--event", default="stream")
    parser.add_argument("--path", default="socket.io", help="of the URL")
    parser.add_argument("--auth", type=json.loads, metavar="JSON")
    parser.add_argument("--ca", metavar="FILE", help="certificates to trust")
    parser.add_argument("url")


def client(args):
    if not args.ca:
        return socketio.Client(reconnection_delay=0.1, reconnection_delay_max=0.1)
    session = requests.Session()
    session.trust_env = False  # or environment variables would override the certificates
    session.verify = args.ca
    return socketio.Client(http_session=session, websocket_extra_options={"sslopt": {"ca_certs": args.ca}})


def connect(client, args):
    client.connect(args.url, namespaces=[args.namespace], auth=args.auth, socketio_path=args.path)
