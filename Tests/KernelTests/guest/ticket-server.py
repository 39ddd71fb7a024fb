#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# ticket-server.py PORT PKI IMAGE [REQUEST]: an NBD server on OpenSSL, which sends TLS 1.3 session
# tickets after each handshake, whatever the client asks for; with REQUEST, one more
# before the answer to that request, and a key update when there were as many again.
import ctypes
import ctypes.util
import os
import socket
import struct
import sys
import threading

port, pki, image = int(sys.argv[1]), sys.argv[2].encode(), sys.argv[3]
in_mid_stream = int(sys.argv[4]) if len(sys.argv) > 4 else 0
disk = os.open(image, os.O_RDWR)
size = os.fstat(disk).st_size
tickets = 8
requests = 0

# Python's own module has no call for a ticket later than the handshake.
openssl = ctypes.CDLL(ctypes.util.find_library("ssl") or "libssl.so.3")
for name in "TLS_server_method", "SSL_CTX_new", "SSL_new":
    getattr(openssl, name).restype = ctypes.c_void_p


def must(result):
    if result != 1:
        raise OSError(f"OpenSSL: {result}")


context = ctypes.c_void_p(openssl.SSL_CTX_new(ctypes.c_void_p(openssl.TLS_server_method())))
must(openssl.SSL_CTX_use_certificate_chain_file(context, pki + b"/server-cert.pem"))
must(openssl.SSL_CTX_use_PrivateKey_file(context, pki + b"/server-key.pem", 1))
openssl.SSL_CTX_ctrl(context, 123, 0x0304, None)  # SSL_CTX_set_min_proto_version, TLS 1.3
must(openssl.SSL_CTX_set_num_tickets(context, tickets))


class Plain:
    def __init__(self, client):
        self.client = client

    def receive(self, count):
        data = self.client.recv(count, socket.MSG_WAITALL)
        if len(data) < count:
            raise EOFError("the client has gone")
        return data

    def send(self, data):
        self.client.sendall(data)


class TLS:
    def __init__(self, client):
        self.client = client
        self.session = ctypes.c_void_p(openssl.SSL_new(context))
        must(openssl.SSL_set_fd(self.session, client.fileno()))
        must(openssl.SSL_accept(self.session))
        print(f"sent {tickets} tickets", file=sys.stderr, flush=True)

    def receive(self, count):
        data = b""
        while len(data) < count:
            part = ctypes.create_string_buffer(count - len(data))
            got = openssl.SSL_read(self.session, part, len(part))
            if got <= 0:
                raise EOFError("the client has gone")
            data += part.raw[:got]
        return data

    def send(self, data):
        if data and openssl.SSL_write(self.session, data, len(data)) != len(data):
            raise EOFError("the client has gone")

    def interfere(self):
        """Before the next answer, which takes along what this makes."""
        if requests == in_mid_stream:
            must(openssl.SSL_new_session_ticket(self.session))
            print("a ticket in mid-stream", file=sys.stderr, flush=True)
        elif requests == 2 * in_mid_stream:
            must(openssl.SSL_key_update(self.session, 0))
            print("a key update", file=sys.stderr, flush=True)


def negotiate(client):
    wire = Plain(client)
    wire.send(b"NBDMAGICIHAVEOPT\0\3")
    wire.receive(4)
    while True:
        _, option, length = struct.unpack(">QII", wire.receive(16))
        if length:
            wire.receive(length)

        def reply(kind, payload=b""):
            header = struct.pack(">QIII", 0x3E889045565A9, option, kind, len(payload))
            wire.send(header + payload)

        if option == 5:  # NBD_OPT_STARTTLS
            reply(1)
            wire = TLS(client)
        elif option == 7:  # NBD_OPT_GO: flags, FLUSH, FUA
            reply(3, struct.pack(">HQH", 0, size, 1 | 4 | 8))
            reply(1)
            return wire
        elif option == 2:  # NBD_OPT_ABORT
            reply(1)
            raise EOFError("aborted")
        else:
            reply(0x80000001)


def serve(client):
    global requests
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        wire = negotiate(client)
        while True:
            _, _, command, cookie, offset, length = struct.unpack(">IHHQQI", wire.receive(28))
            requests += 1
            wire.interfere()
            reply = struct.pack(">IIQ", 0x67446698, 0, cookie)
            if command == 0:
                wire.send(reply + os.pread(disk, length, offset))
            elif command == 1:
                os.pwrite(disk, wire.receive(length), offset)
                wire.send(reply)
            elif command == 2:
                return
            else:
                os.fsync(disk)
                wire.send(reply)
    except (EOFError, OSError) as error:
        print(error, file=sys.stderr, flush=True)
    finally:
        client.close()


listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(("127.0.0.1", port))
listener.listen(8)
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
