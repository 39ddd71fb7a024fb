#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""half.py LISTEN-PORT SERVER-PORT ARM-FILE: a line to the server which, once ARM-FILE exists, removes it
and passes on only a part of a long answer, and from then on nothing, while the connection stays. Later
connections are good."""
import os, socket, sys, threading

listen_port, server_port, arm_file = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]


def pump(source, sink, breaks):
    try:
        while data := source.recv(65536):
            if breaks and len(data) > 8192 and os.path.exists(arm_file):
                os.rename(arm_file, arm_file + ".done")
                sink.sendall(data[:len(data) // 2])
                # Silent from here on; what comes is taken and dropped.
                while source.recv(65536):
                    pass
                break
            sink.sendall(data)
    except OSError:
        pass
    for end in (source, sink):
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(("127.0.0.1", listen_port))
listener.listen(64)
open(arm_file + ".ready", "w").close()
while True:
    client, _ = listener.accept()
    try:
        server = socket.create_connection(("127.0.0.1", server_port))
    except OSError:
        client.close()
        continue
    for source, sink, breaks in ((client, server, False), (server, client, True)):
        sink.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=pump, args=(source, sink, breaks), daemon=True).start()
