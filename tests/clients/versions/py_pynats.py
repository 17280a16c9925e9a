"""Proves what a broker does for nats-python and its successor pynats2, which block.

Usage: py_pynats.py PACKAGE VERSION; the rest is in the environment, see proof.py.
"""

import queue
import sys
import threading

import proof

if sys.argv[1] == "nats-python":
    from pynats import NATSClient
else:
    from pynats2 import NATSClient

# It reads on threads of its own, and only there.
READS_BY_ITSELF = sys.argv[1] == "pynats2"


def connect(url, **options):
    client = NATSClient(url, socket_timeout=proof.PATIENCE, **options)
    client.connect()
    return client


class Listener:
    """A subscription whose messages are taken one by one."""

    def __init__(self, client, subject, **options):
        self.client, self.received = client, queue.Queue()
        client.subscribe(subject, callback=self.received.put, **options)

    def next(self):
        while not READS_BY_ITSELF and self.received.empty():
            # It may be a message of another subscription.
            self.client.wait(count=1)
        return self.received.get(timeout=proof.PATIENCE)


def settle(client):
    """Returns when the broker has done everything that the client has sent."""
    listener = Listener(client, f"settle.{id(client)}")
    client.publish(f"settle.{id(client)}")
    listener.next()


def messages(client, other):
    listener = Listener(client, "pynats.*")
    settle(client)
    for number in range(100):
        other.publish("pynats.a", payload=b"%d" % number)
    for number in range(100):
        message = listener.next()
        assert (message.subject, message.payload) == ("pynats.a", b"%d" % number)


def request(client, other):
    listener = Listener(client, "double")
    settle(client)

    def serve():
        message = listener.next()
        client.publish(message.reply, payload=message.payload * 2)

    server = threading.Thread(target=serve)
    server.start()
    assert other.request("double", payload=b"ab").payload == b"abab"
    server.join()


def queue_group(client, other):
    members = [Listener(each, "work", queue="workers") for each in (client, other)]
    settle(client)
    settle(other)
    publisher = connect(proof.URL)
    for number in range(200):
        publisher.publish("work", payload=b"%03d" % number)
    settle(publisher)
    publisher.close()
    # What was delivered to a member is read before its own marker.
    settle(client)
    settle(other)
    data = []
    for member in members:
        assert not member.received.empty(), "a member got nothing"
        while not member.received.empty():
            data.append(member.received.get().payload)
    assert sorted(data) == [b"%03d" % number for number in range(200)]


def tls():
    trusting = {"tls_verify": True, "tls_cacert": proof.CA}
    echo(connect(proof.TLS_URL, **trusting))
    try:
        connect(proof.TLS_URL, tls_verify=True, tls_cacert=proof.OTHER_CA)
    except Exception as error:
        assert proof.is_refused_certificate(error), repr(error)
    else:
        raise AssertionError("a certificate of another CA was accepted")


def certificate():
    own = {"tls_client_cert": proof.CERT, "tls_client_key": proof.KEY}
    echo(connect(proof.VERIFYING_URL, tls_verify=True, tls_cacert=proof.CA, **own))


def echo(client):
    listener = Listener(client, "echo")
    client.publish("echo", payload=b"hello")
    assert listener.next().payload == b"hello"
    client.close()


for feature in (messages, request, queue_group):
    client, other = connect(proof.URL), connect(proof.URL)
    feature(client, other)
    proof.proven(feature.__name__)
    client.close()
    other.close()
for feature in (tls, certificate):
    feature()
    proof.proven(feature.__name__)
