"""A new process of an upgrade that takes over up to a step and then hangs.

    python3 hung.py offered   it takes the offer, and says nothing
    python3 hung.py taken     it has got the clients, and does not say that it serves
    python3 hung.py serving   it says that it serves
    python3 hung.py wrong     it is a member of a queue group, and reports a client too many

It speaks the channel of an upgrade on its standard input, and the protocol between brokers on the
connection that comes with the offer.
"""

import json
import socket
import struct
import sys
import threading
import time


def exactly(stream, count):
    data = b""
    while len(data) < count:
        part = stream.recv(count - len(data))
        if not part:
            sys.exit("the old process has ended")
        data += part
    return data


class Channel:
    def __init__(self):
        self.stream = socket.socket(fileno=0)

    def receive(self):
        head, descriptors, _, _ = socket.recv_fds(self.stream, 4, 8)
        head += exactly(self.stream, 4 - len(head))
        (length,) = struct.unpack(">I", head)
        return json.loads(exactly(self.stream, length)), descriptors

    def say(self, message):
        body = json.dumps(message).encode()
        self.stream.sendall(struct.pack(">I", len(body)) + body)


def answer_pings(link):
    """Answers what the old process asks as a broker, and drops the rest."""
    for line in link.makefile("rb"):
        if line == b"PING\r\n":
            link.sendall(b"PONG\r\n")


def hang():
    print("hangs", file=sys.stderr, flush=True)
    while True:
        time.sleep(3600)


def main(step):
    channel = Channel()
    offer, descriptors = channel.receive()
    if step == "offered":
        hang()
    own = json.loads(offer["info"])
    own["server_id"] = "N" + "X" * 55
    link = socket.socket(fileno=descriptors[-1])
    link.setblocking(True)
    channel.say({"Ready": {"version": "0", "has_unix_socket": False, "info": json.dumps(own)}})
    assert channel.receive()[0] == "Go"
    threading.Thread(target=answer_pings, args=(link,), daemon=True).start()
    channel.say("Joined")
    clients = []
    while True:
        message, sockets = channel.receive()
        if message == "NoMore":
            break
        clients.append(sockets)
    if step == "wrong":
        link.sendall(b"RS+ $G work pool 1000000\r\n")
        # Until the old process has read it.
        time.sleep(0.5)
        channel.say({"Taken": {"clients": len(clients) + 1, "mark": 1}})
        hang()
    link.sendall(b'INFO {"server_id":"%s","midge_mark":1}\r\n' % own["server_id"].encode())
    channel.say({"Taken": {"clients": len(clients), "mark": 1}})
    assert "Serve" in channel.receive()[0]
    if step == "serving":
        channel.say("Serving")
    hang()


main(sys.argv[1])
