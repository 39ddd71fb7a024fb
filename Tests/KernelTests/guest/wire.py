#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""wire.py reset|flip LISTEN-PORT SERVER-PORT COUNT-FILE BAD-FILE: a line to the server, which is bad while
BAD-FILE exists. Each connection gets its fault then at a random byte of a random direction, the handshake's
bytes included: a reset, or a bit that is another. How many there were goes to COUNT-FILE."""
import os, random, socket, struct, sys, threading

mode, listen_port, server_port = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
count_file, bad_file = sys.argv[4:]
lock = threading.Lock()
faults = 0
# A reset in place of an orderly end.
ABORT = struct.pack("ii", 1, 0)


def count():
    global faults
    with lock:
        faults += 1
        with open(count_file + ".new", "w") as file:
            file.write(str(faults))
        os.rename(count_file + ".new", count_file)


def place():
    # One in ten within the handshake; else anywhere in what a second or so carries.
    return random.randrange(1, 4000) if random.random() < 0.1 else int(10 ** random.uniform(3.6, 6))


def pump(source, sink, fault, done):
    seen = 0
    try:
        while data := source.recv(65536):
            if fault is not None and fault < seen + len(data) and not os.path.exists(bad_file):
                fault = seen + len(data) + place()
            if fault is not None and seen <= fault < seen + len(data):
                count()
                at = fault - seen
                if mode == "reset":
                    sink.sendall(data[:at])
                    for each in (source, sink):
                        each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)
                    break
                data = data[:at] + bytes([data[at] ^ 1 << random.randrange(8)]) + data[at + 1:]
            seen += len(data)
            sink.sendall(data)
    except OSError:
        pass
    done.set()


def serve(client):
    try:
        server = socket.create_connection(("127.0.0.1", server_port))
    except OSError:
        client.close()
        return
    ends = (client, server)
    done = threading.Event()
    unlucky = random.randrange(2)
    threads = []
    for number in range(2):
        ends[number].setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        fault = place() if number == unlucky else None
        threads.append(threading.Thread(
            target=pump, args=(ends[number], ends[1 - number], fault, done), daemon=True))
    for thread in threads:
        thread.start()
    done.wait()
    # Wakes up who reads, and tells the other side nothing: that is for close, which may be a reset.
    for end in ends:
        try:
            end.shutdown(socket.SHUT_RD)
        except OSError:
            pass
    for thread in threads:
        thread.join(5)
    for end in ends:
        end.close()


listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(("127.0.0.1", listen_port))
listener.listen(64)
open(count_file, "w").write("0")
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
