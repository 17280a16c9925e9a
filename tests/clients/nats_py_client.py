"""Proves the features of a broker with the nats.py client.

Usage: nats_py_client.py nats://HOST:PORT
Prints a line per feature; ends with 1 at the first that fails.
"""

import asyncio
import sys

import nats
from nats.errors import NoRespondersError

PATIENCE = 10


async def settle(client):
    """Returns when the broker has done everything that the client has sent.

    One flush is not enough: nats.py sends its PING past the buffer in which
    the operations before it may still wait.
    """
    await client.flush()
    await client.flush()


async def publish_subscribe(client, other):
    subscription = await client.subscribe("py.*")
    await settle(client)
    for number in range(100):
        await other.publish("py.a", b"%d" % number)
    for number in range(100):
        message = await subscription.next_msg(PATIENCE)
        assert (message.subject, message.data) == ("py.a", b"%d" % number)


async def request_reply(client, other):
    async def answer(message):
        await message.respond(message.data * 2)

    await client.subscribe("double", cb=answer)
    await settle(client)
    message = await other.request("double", b"ab", timeout=PATIENCE)
    assert message.data == b"abab"


async def queue_group(client, other):
    first = await client.subscribe("work", queue="workers")
    second = await other.subscribe("work", queue="workers")
    await settle(client)
    await settle(other)
    for number in range(200):
        await client.publish("work", b"%03d" % number)
    await settle(client)
    await settle(other)
    assert first.pending_msgs and second.pending_msgs, "a member got nothing"
    received = []
    for member in (first, second):
        for _ in range(member.pending_msgs):
            received.append((await member.next_msg(PATIENCE)).data)
    assert sorted(received) == [b"%03d" % number for number in range(200)]


async def headers(client, other):
    subscription = await client.subscribe("headers")
    await settle(client)
    await other.publish("headers", b"body", headers={"Kind": "test"})
    message = await subscription.next_msg(PATIENCE)
    assert (message.data, message.headers) == (b"body", {"Kind": "test"})


async def no_responders(client, other):
    try:
        await client.request("nobody", b"?", timeout=PATIENCE)
    except NoRespondersError:
        return
    raise AssertionError("an answer from nobody")


async def unsubscribe_after(client, other):
    subscription = await client.subscribe("limited")
    await subscription.unsubscribe(limit=3)
    await settle(client)
    for number in range(5):
        await other.publish("limited", b"%d" % number)
    await settle(other)
    await settle(client)
    received = [message.data async for message in subscription.messages]
    assert received == [b"0", b"1", b"2"], received


async def large_payload(client, other):
    payload = b"x" * client.max_payload
    subscription = await client.subscribe("large", pending_bytes_limit=-1)
    await settle(client)
    await other.publish("large", payload)
    message = await subscription.next_msg(PATIENCE)
    assert message.data == payload


async def drain(client, other):
    received = []

    async def receive(message):
        received.append(message.data)

    await client.subscribe("drain", cb=receive)
    await settle(client)
    for _ in range(100):
        await other.publish("drain", b"x")
    await settle(other)
    await client.drain()
    assert client.is_closed
    assert len(received) == 100


FEATURES = [
    publish_subscribe,
    request_reply,
    queue_group,
    headers,
    no_responders,
    unsubscribe_after,
    large_payload,
    drain,
]


async def connect(url):
    return await asyncio.wait_for(nats.connect(url, allow_reconnect=False), PATIENCE)


async def main(url):
    for feature in FEATURES:
        client, other = await connect(url), await connect(url)
        await asyncio.wait_for(feature(client, other), 3 * PATIENCE)
        print(f"{feature.__name__}: ok", flush=True)
        for connection in (client, other):
            if not connection.is_closed:
                await connection.close()


asyncio.run(main(sys.argv[1]))
