"""A name server that behaves as its questions' names ask for. Each question is one line on its output.

ok.*: an address. none.*: no such name. garbage.*: noise. silent.*: nothing. big.*: more than fits a packet.
"""
import socket
import struct
import sys
import threading

address = sys.argv[1]


def name_of(query):
    labels, at = [], 12
    while query[at]:
        labels.append(query[at + 1 : at + 1 + query[at]].decode())
        at += query[at] + 1
    return ".".join(labels), query[12 : at + 5], struct.unpack(">H", query[at + 1 : at + 3])[0]


def reply(query, stream):
    name, question, kind = name_of(query)
    print(name, flush=True)
    head = lambda flags, answers: query[:2] + struct.pack(">HHHHH", flags, 1, answers, 0, 0) + question
    record = lambda last: b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 1, 4) + bytes([192, 0, 2, last])
    if name.startswith("silent"):
        return None
    if name.startswith("garbage"):
        return b"\xff" * 40
    if name.startswith("none"):
        return head(0x8183, 0)
    if kind != 1:
        return head(0x8180, 0)
    if name.startswith("big"):
        return head(0x8180, 100) + b"".join(map(record, range(100))) if stream else head(0x8380, 0)
    return head(0x8180, 1) + record(53)


def streams():
    listener = socket.create_server((address, 53))
    while True:
        client, _ = listener.accept()
        with client:
            length = struct.unpack(">H", client.recv(2))[0]
            answer = reply(client.recv(length), True)
            if answer:
                client.sendall(struct.pack(">H", len(answer)) + answer)


threading.Thread(target=streams, daemon=True).start()
packets = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
packets.bind((address, 53))
print("ready", flush=True)
while True:
    query, client = packets.recvfrom(4096)
    answer = reply(query, False)
    if answer:
        packets.sendto(answer, client)
