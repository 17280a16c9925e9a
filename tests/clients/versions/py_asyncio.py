"""Proves what a broker does for asyncio-nats-client and nats-py, from 0.4 on.

Usage: py_asyncio.py PACKAGE VERSION; the rest is in the environment, see proof.py.
"""

import asyncio
import inspect
import sys

import proof

if sys.argv[1] == "asyncio-nats-client":
    proof.revive_asyncio()

from nats.aio.client import Client

VERSION = tuple(int(part) for part in sys.argv[2].split("."))
HAS_HEADERS = sys.argv[1] == "nats-py"
# Before 0.5 it has none, before 0.9 it does it with asyncio's own socket, which Python no longer gives.
HAS_TLS = HAS_HEADERS or VERSION >= (0, 9)
# Before 0.5 it tries each broker only once.
HAS_RECONNECT = HAS_HEADERS or VERSION >= (0, 5)
# Before 0.8 a request of that name collected answers by a callback.
HAS_OLD_REQUEST = not HAS_HEADERS and VERSION < (0, 8)


async def connect(url, **options):
    client = Client()
    if "io_loop" in inspect.signature(client.connect).parameters:
        options["io_loop"] = asyncio.get_event_loop()
    options = {"servers": [url], "allow_reconnect": False, **options}
    await asyncio.wait_for(client.connect(**options), proof.PATIENCE)
    return client


async def settle(client):
    """Returns when the broker has done everything that the client has sent: its PING can
    overtake operations that still wait."""
    for _ in range(3):
        await client.flush(proof.PATIENCE)


async def listen(client, subject, queue="", answer=None):
    """Subscribes; the queue returned gets the messages."""
    received = asyncio.Queue()

    async def receive(message):
        if answer is not None:
            await client.publish(message.reply, answer(message.data))
        received.put_nowait(message)

    await client.subscribe(subject, queue=queue, cb=receive)
    await settle(client)
    return received


async def following(received):
    return await asyncio.wait_for(received.get(), proof.PATIENCE)


async def messages(client, other):
    received = await listen(client, "py.*")
    for number in range(100):
        await other.publish("py.a", b"%d" % number)
    for number in range(100):
        message = await following(received)
        assert (message.subject, message.data) == ("py.a", b"%d" % number)


async def request(client, other):
    await listen(client, "double", answer=lambda data: data * 2)
    ask = other.timed_request if HAS_OLD_REQUEST else other.request
    message = await ask("double", b"ab", timeout=proof.PATIENCE)
    assert message.data == b"abab"


async def queue_group(client, other):
    members = [await listen(each, "work", queue="workers") for each in (client, other)]
    for number in range(200):
        await client.publish("work", b"%03d" % number)
    for each in (client, other):
        received = await listen(each, "end")
        await each.publish("end", b"")
        await following(received)
    assert all(member.qsize() > 0 for member in members), "a member got nothing"
    data = [member.get_nowait().data for member in members for _ in range(member.qsize())]
    assert sorted(data) == [b"%03d" % number for number in range(200)]


async def headers(client, other):
    received = await listen(client, "headers")
    await other.publish("headers", b"body", headers={"Kind": "test"})
    message = await following(received)
    assert (message.data, message.headers) == (b"body", {"Kind": "test"})


async def echo(client):
    received = await listen(client, "echo")
    await client.publish("echo", b"hello")
    assert (await following(received)).data == b"hello"
    await client.close()


async def tls():
    await echo(await connect(proof.TLS_URL, tls=proof.context(proof.CA)))
    noticed = []

    async def notice(error):
        noticed.append(error)

    try:
        await connect(
            proof.TLS_URL,
            tls=proof.context(proof.OTHER_CA),
            error_cb=notice,
            max_reconnect_attempts=1,
        )
    except Exception as error:
        noticed.append(error)
    else:
        raise AssertionError("a certificate of another CA was accepted")
    assert any(map(proof.is_refused_certificate, noticed)), noticed


async def certificate():
    await echo(await connect(proof.VERIFYING_URL, tls=proof.context(proof.CA, own=True)))


async def reconnect():
    client = await connect(
        proof.URL, allow_reconnect=True, reconnect_time_wait=0.05, max_reconnect_attempts=600
    )
    received = await listen(client, "again")
    await asyncio.get_event_loop().run_in_executor(None, proof.restart_broker)
    publisher = await connect(proof.URL)
    while received.empty():
        await publisher.publish("again", b"after")
        await publisher.flush(proof.PATIENCE)
        await asyncio.sleep(0.02)
    assert received.get_nowait().data == b"after"


async def main():
    features = [messages, request, queue_group] + [headers] * HAS_HEADERS
    for feature in features:
        client, other = await connect(proof.URL), await connect(proof.URL)
        await feature(client, other)
        proof.proven(feature.__name__)
        await client.close()
        await other.close()
    for feature in [tls, certificate] * HAS_TLS + [reconnect] * HAS_RECONNECT:
        await asyncio.wait_for(feature(), 2 * proof.PATIENCE)
        proof.proven(feature.__name__)


asyncio.run(main())
