"""What the client programs in Python share: the features, their order, and the clients' own age.

Used by py_asyncio.py, py_pynats.py and py_natsio.py, which client_versions.rs starts.
"""

import asyncio
import inspect
import os
import ssl
import sys
import types

# For a single wait; the programs wait for states, so it only bounds a failing run.
PATIENCE = 30

URL = os.environ["URL"]
TLS_URL = os.environ["TLS_URL"]
VERIFYING_URL = os.environ["VERIFYING_URL"]
CA, OTHER_CA = os.environ["CA"], os.environ["OTHER_CA"]
CERT, KEY = os.environ["CERT"], os.environ["KEY"]


def proven(feature):
    print(f"{feature}: ok", flush=True)


def restart_broker():
    """Has the broker killed and started again."""
    print("restart", flush=True)
    assert sys.stdin.readline() == "restarted\n"


def context(ca, own=False):
    made = ssl.create_default_context(cafile=ca)
    if own:
        made.load_cert_chain(CERT, KEY)
    return made


def is_refused_certificate(error):
    """Whether the client found that it does not know who signed the broker's certificate."""
    while error is not None:
        if "CERTIFICATE_VERIFY_FAILED" in repr(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def revive_asyncio():
    """Gives asyncio the argument `loop` and the decorator that old clients use: Python had them
    until 3.9 and 3.10."""

    def coroutine(function):
        if inspect.isgeneratorfunction(function):
            return types.coroutine(function)

        @types.coroutine
        def call(*args, **kwargs):
            result = function(*args, **kwargs)
            return (yield from result) if inspect.isgenerator(result) else result

        return call

    if not hasattr(asyncio, "coroutine"):
        asyncio.coroutine = coroutine

    def without_loop(function):
        def call(*args, loop=None, **kwargs):
            return function(*args, **kwargs)

        return call

    for name in ("sleep", "wait_for", "wait", "open_connection", "Queue", "Lock", "Event"):
        setattr(asyncio, name, without_loop(getattr(asyncio, name)))
