# SPDX-License-Identifier: MPL-2.0
"""The usual relay in Flask: what a camera sends on an event goes to everybody else.

Says where it is "Running on", and "client QUERY" for each client it takes.
"""

from flask import Flask, request
from flask_socketio import ConnectionRefusedError, SocketIO, emit

import socketio_server


def main():
    parser = socketio_server.arguments(__doc__)
    parser.add_argument("--no-websocket", action="store_true", help="long polling only")
    args = parser.parse_args()
    options = socketio_server.options(args)
    if args.no_websocket:
        options["transports"] = ["polling"]

    app = Flask(__name__)
    socketio = SocketIO(app, path=args.path, **options)

    @socketio.on("connect", namespace=args.namespace)
    def connect(auth):
        if not socketio_server.is_welcome(args, auth):
            raise ConnectionRefusedError("wrong token")
        socketio_server.report(request.query_string.decode())

    @socketio.on(args.event, namespace=args.namespace)
    def stream(data):
        emit(args.event, data, broadcast=True, include_self=False)

    # Werkzeug's own server, which people run by hand, wants a terminal or this.
    ssl = {"ssl_context": (args.certificate, args.key)} if args.certificate else {}
    socketio.run(app, port=args.port, allow_unsafe_werkzeug=True, **ssl)


if __name__ == "__main__":
    main()
