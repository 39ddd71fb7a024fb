#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# ticket-server.py PORT PKI IMAGE: an NBD server on OpenSSL, which sends TLS 1.3 session tickets
# after each handshake, whatever the client asks for.
import os
import socket
import ssl
import struct
import sys
import threading

port, pki, image = int(sys.argv[1]), sys.argv[2], sys.argv[3]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.minimum_version = ssl.TLSVersion.TLSv1_3
context.load_cert_chain(pki + "/server-cert.pem", pki + "/server-key.pem")
context.num_tickets = 8
disk = os.open(image, os.O_RDWR)
size = os.fstat(disk).st_size


def receive(client, count):
    data = b""
    while len(data) < count:
        more = client.recv(count - len(data))
        if not more:
            raise EOFError("the client has gone")
        data += more
    return data


def negotiate(client):
    client.sendall(b"NBDMAGICIHAVEOPT\0\3")
    receive(client, 4)
    while True:
        _, option, length = struct.unpack(">QII", receive(client, 16))
        receive(client, length)

        def reply(kind, payload=b""):
            header = struct.pack(">QIII", 0x3E889045565A9, option, kind, len(payload))
            client.sendall(header + payload)

        if option == 5:  # NBD_OPT_STARTTLS
            reply(1)
            client = context.wrap_socket(client, server_side=True)
            print(f"sent {context.num_tickets} tickets", file=sys.stderr, flush=True)
        elif option == 7:  # NBD_OPT_GO: flags, FLUSH, FUA
            reply(3, struct.pack(">HQH", 0, size, 1 | 4 | 8))
            reply(1)
            return client
        elif option == 2:  # NBD_OPT_ABORT
            reply(1)
            raise EOFError("aborted")
        else:
            reply(0x80000001)


def serve(client):
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        client = negotiate(client)
        while True:
            _, _, command, cookie, offset, length = struct.unpack(
                ">IHHQQI", receive(client, 28))
            reply = struct.pack(">IIQ", 0x67446698, 0, cookie)
            if command == 0:
                client.sendall(reply + os.pread(disk, length, offset))
            elif command == 1:
                os.pwrite(disk, receive(client, length), offset)
                client.sendall(reply)
            elif command == 2:
                return
            else:
                os.fsync(disk)
                client.sendall(reply)
    except (EOFError, OSError) as error:
        print(error, file=sys.stderr)
    finally:
        client.close()


listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(("127.0.0.1", port))
listener.listen(8)
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
