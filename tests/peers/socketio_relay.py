# SPDX-License-Identifier: MPL-2.0
"""A common relay with python-socketio on an ASGI server.

Prints "running on URL", and "client QUERY" for each client it accepts.
"""

import socketio
import uvicorn

import socketio_server


def main():
    args = socketio_server.arguments(__doc__).parse_args()
    sio = socketio.AsyncServer(async_mode="asgi", **socketio_server.options(args))

    @sio.on("connect", namespace=args.namespace)
    async def connect(sid, environ, auth=None):
        if not socketio_server.is_authorised(args, auth):
            raise socketio.exceptions.ConnectionRefusedError("wrong token")
        socketio_server.report(environ["QUERY_STRING"])

    @sio.on(args.event, namespace=args.namespace)
    async def stream(sid, data):
        await sio.emit(args.event, data, skip_sid=sid, namespace=args.namespace)

    app = socketio.ASGIApp(sio, socketio_path=args.path)
    uvicorn.run(app, port=args.port, ssl_certfile=args.certificate, ssl_keyfile=args.key)


if __name__ == "__main__":
    main()
