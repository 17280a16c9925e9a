"""Sends itself a message over TLS with the nats.py client.

Usage: tls_py_client.py PORT CA_FILE [CERT_FILE KEY_FILE]
Says `served`, or ends with 1.
"""

import asyncio
import ssl
import sys

import nats


async def main(port, ca, *own):
    context = ssl.create_default_context(cafile=ca)
    if own:
        context.load_cert_chain(*own)

    async def quiet(_error):
        pass

    client = await nats.connect(
        f"tls://localhost:{port}",
        tls=context,
        allow_reconnect=False,
        connect_timeout=10,
        error_cb=quiet,
    )
    subscription = await client.subscribe("echo")
    await client.publish("echo", b"hello")
    message = await subscription.next_msg(10)
    assert message.data == b"hello"
    await client.close()
    print("served")


asyncio.run(main(*sys.argv[1:]))
