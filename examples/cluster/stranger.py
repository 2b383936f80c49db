#!/usr/bin/env python3
"""A program in another language beside heist: it looks into a queue, reads results, and submits tasks.

    pip install nats-py msgpack
    stranger.py nats://127.0.0.1:4222/words depth
    stranger.py nats://127.0.0.1:4222/words result SESSION.NUMBER
    stranger.py nats://127.0.0.1:4222/words submit TASK ARGUMENT...

Arguments are Python literals. The protocol is documented in heist::nats, "Other languages".
"""

import ast
import asyncio
import sys
import uuid

import msgpack
import nats
from nats.js.errors import NotFoundError


def show(message):
    kind = message.headers["Heist-Outcome"]
    if kind in ("value", "panic"):
        print(f"{kind}: {msgpack.unpackb(message.data)!r}")
    else:
        print(f"{kind}: {message.data.decode()}")


async def depth(jetstream, queue):
    for lane in ("high", "normal", "low"):
        info = await jetstream.consumer_info(f"HEIST_{queue}", lane)
        print(f"{lane}: {info.num_pending} waiting, {info.num_ack_pending} under way")


async def result(jetstream, queue, call):
    try:
        show(await jetstream.get_last_msg(f"HEIST_{queue}_DONE", f"heist.{queue}.done.{call}"))
    except NotFoundError:
        print("no result")


async def submit(client, jetstream, queue, task, *arguments):
    arguments = [ast.literal_eval(argument) for argument in arguments]
    call = f"{uuid.uuid4().hex}.0"
    results = await client.subscribe(f"heist.{queue}.done.{call}")
    await jetstream.publish(
        f"heist.{queue}.todo.normal.{call}",
        # The only argument, the tuple of several, or nothing.
        msgpack.packb(arguments[0] if len(arguments) == 1 else arguments or None),
        headers={"Heist-Task": task, "Nats-Msg-Id": call},
    )
    show(await results.next_msg(timeout=60))


async def main(address, action, *rest):
    server, queue = address.rsplit("/", 1)
    client = await nats.connect(server)
    jetstream = client.jetstream()
    if action == "depth":
        await depth(jetstream, queue)
    elif action == "result":
        await result(jetstream, queue, *rest)
    else:
        await submit(client, jetstream, queue, *rest)
    await client.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
