"""Uses a stream of a nats-server through the broker whose URL is given, which is a leafnode of it, by
the domain of the nats-server if there is one: publish, read, a durable consumer, an ordered consumer.
Prints "ok" at the end."""

import asyncio
import sys

import nats
from nats.js.api import StreamConfig


async def with_patience(act):
    """The servers first have to agree on who leads."""
    for attempt in range(60):
        try:
            return await act()
        except Exception as error:
            last = error
            await asyncio.sleep(0.25)
    raise last


async def main(url, domain):
    client = await nats.connect(url)
    js = client.jetstream(timeout=3, **({"domain": domain} if domain else {}))
    await with_patience(lambda: js.add_stream(StreamConfig(name="orders", subjects=["orders.*"])))
    for number in range(20):
        await with_patience(lambda: js.publish(f"orders.{number}", str(number).encode()))
    info = await js.stream_info("orders")
    assert info.state.messages >= 20, info.state
    pull = await with_patience(lambda: js.pull_subscribe("orders.*", durable="reader"))
    seen = []
    while len(seen) < 20:
        for message in await pull.fetch(10, timeout=5):
            assert message.subject.startswith("orders."), message.subject
            seen.append(message.subject)
            await message.ack_sync(timeout=5)
    assert set(seen) == {f"orders.{number}" for number in range(20)}, seen
    push = await js.subscribe("orders.7", ordered_consumer=True)
    message = await push.next_msg(timeout=5)
    assert (message.subject, message.data) == ("orders.7", b"7"), message
    await client.close()
    print("ok")


asyncio.run(asyncio.wait_for(main(*sys.argv[1:3]), 60))
