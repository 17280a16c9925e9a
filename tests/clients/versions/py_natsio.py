"""Proves what a broker does for natsio.

Usage: py_natsio.py PACKAGE VERSION; the rest is in the environment, see proof.py.
"""

import asyncio

import proof
from natsio.client import ClientConfig, NATSCore
from natsio.client.config import TLSConfig


async def connect(url, **options):
    failed = asyncio.get_running_loop().create_future()

    async def fail(error):
        if not failed.done():
            failed.set_result(error)

    client = NATSCore(ClientConfig(servers=[url], **options), error_callback=fail)
    connecting = asyncio.create_task(client.connect())
    await asyncio.wait(
        [connecting, failed], timeout=proof.PATIENCE, return_when=asyncio.FIRST_COMPLETED
    )
    if failed.done():
        connecting.cancel()
        raise failed.result()
    await connecting
    return client


async def subscribe(client, subject, **options):
    """Subscribes, and returns when the broker knows it."""
    subscription = await client.subscribe(subject, **options)
    await settle(client)
    return subscription


async def settle(client):
    marker = await client.subscribe(f"settle.{id(client)}")
    await client.publish(f"settle.{id(client)}", b"")
    await marker.next_msg(proof.PATIENCE)
    await marker.unsubscribe()


async def messages(client, other):
    subscription = await subscribe(client, "natsio.*")
    for number in range(100):
        await other.publish("natsio.a", b"%d" % number)
    for number in range(100):
        message = await subscription.next_msg(proof.PATIENCE)
        assert (message.subject, message.payload) == ("natsio.a", b"%d" % number)


async def queue_group(client, other):
    data = {client: [], other: []}

    def member(each):
        async def receive(message):
            data[each].append(message.payload)

        return receive

    for each in (client, other):
        await subscribe(each, "work", queue="workers", callback=member(each))
    for number in range(200):
        await client.publish("work", b"%03d" % number)
    await settle(client)
    while sum(map(len, data.values())) < 200:
        await asyncio.sleep(0.01)
    assert all(data.values()), "a member got nothing"
    received = data[client] + data[other]
    assert sorted(received) == [b"%03d" % number for number in range(200)]


async def headers(client, other):
    subscription = await subscribe(client, "headers")
    await other.publish("headers", b"body", headers={"Kind": "test"})
    message = await subscription.next_msg(proof.PATIENCE)
    assert (message.payload, message.headers) == (b"body", {"Kind": "test"})


async def echo(client):
    subscription = await subscribe(client, "echo")
    await client.publish("echo", b"hello")
    assert (await subscription.next_msg(proof.PATIENCE)).payload == b"hello"
    await client.close()


async def tls():
    await echo(await connect(proof.TLS_URL, tls=TLSConfig(proof.context(proof.CA))))
    try:
        await connect(proof.TLS_URL, tls=TLSConfig(proof.context(proof.OTHER_CA)))
    except Exception as error:
        assert proof.is_refused_certificate(error), repr(error)
    else:
        raise AssertionError("a certificate of another CA was accepted")


async def certificate():
    own = TLSConfig(proof.context(proof.CA, own=True))
    await echo(await connect(proof.VERIFYING_URL, tls=own))


async def reconnect():
    client = await connect(proof.URL, reconnect_time_wait=0.05, max_reconnect_attempts=600)
    subscription = await subscribe(client, "again")
    received = asyncio.create_task(subscription.next_msg(2 * proof.PATIENCE))
    await asyncio.get_running_loop().run_in_executor(None, proof.restart_broker)
    publisher = await connect(proof.URL)
    while not received.done():
        await publisher.publish("again", b"after")
        await asyncio.sleep(0.02)
    assert received.result().payload == b"after"
    await client.close()
    await publisher.close()


async def main():
    for feature in (messages, queue_group, headers):
        client, other = await connect(proof.URL), await connect(proof.URL)
        await asyncio.wait_for(feature(client, other), 2 * proof.PATIENCE)
        proof.proven(feature.__name__)
        await client.close()
        await other.close()
    for feature in (tls, certificate, reconnect):
        await asyncio.wait_for(feature(), 2 * proof.PATIENCE)
        proof.proven(feature.__name__)


asyncio.run(main())
