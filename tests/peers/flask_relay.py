# SPDX-License-Identifier: MPL-2.0
"""A common relay in Flask: an event from one client is sent to all other clients.

Prints "Running on URL", and "client QUERY" for each client it accepts.
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
        if not socketio_server.is_authorised(args, auth):
            raise ConnectionRefusedError("wrong token")
        socketio_server.report(request.query_string.decode())

    @socketio.on(args.event, namespace=args.namespace)
    def stream(data):
        emit(args.event, data, broadcast=True, include_self=False)

    # Without a terminal, Werkzeug's development server starts only with this option.
    ssl = {"ssl_context": (args.certificate, args.key)} if args.certificate else {}
    socketio.run(app, port=args.port, allow_unsafe_werkzeug=True, **ssl)


if __name__ == "__main__":
    main()
