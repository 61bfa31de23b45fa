"""A WebSocket client for the tests: client.py HOST:PORT deflate|none deflate|none: what it finds and what
the server should. Says "all well" where everything is as it should be."""

import asyncio
import sys

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosedError, ConnectionClosedOK, InvalidStatus

address, compression, of_server = sys.argv[1:]


def open(**more):
    return connect(
        f"ws://{address}/chat", compression="deflate", max_size=None, subprotocols=["other", "chat"], **more
    )


async def echoes(connection):
    for message in ["", "a", "κόσμε 𐍈", "x" * 125, "y" * 126, "z" * 65535, "w" * 65536, "é" * 1_000_000]:
        await connection.send(message)
        assert await connection.recv() == message
    for message in [b"", bytes(range(256)), b"\xff" * 70_000, bytes(3_000_000)]:
        await connection.send(message)
        assert await connection.recv() == message
    await connection.send(["fragment ", "", "after ", "fragment"])
    assert await connection.recv() == "fragment after fragment"
    await connection.send("fragments")
    assert await connection.recv() == "one two thrée"
    # Many at once, in order.
    for number in range(500):
        await connection.send(str(number) * (number % 50))
    for number in range(500):
        assert await connection.recv() == str(number) * (number % 50)


async def main():
    async with open() as connection:
        assert connection.subprotocol == "chat"
        await connection.send("subprotocol")
        assert await connection.recv() == "chat"
        names = [extension.name for extension in connection.protocol.extensions]
        assert names == (["permessage-deflate"] if compression == "deflate" else []), names
        await connection.send("extensions")
        assert await connection.recv() == ("permessage-deflate" if of_server == "deflate" else "")
        await echoes(connection)
        await (await connection.ping(b"from the client"))
        await connection.send("ping")
        assert await connection.recv() == "ponged"
    assert connection.close_code == 1000
    async with open() as connection:
        await connection.send("close 4321")
        try:
            await connection.recv()
            raise AssertionError("it is still open")
        except ConnectionClosedError as closed:
            assert (closed.rcvd.code, closed.rcvd.reason) == (4321, "as told"), closed
    async with open() as connection:
        await connection.close(3000, "bye")
        assert (connection.close_code, connection.close_reason) == (3000, "bye")
        try:
            await connection.recv()
        except (ConnectionClosedOK, ConnectionClosedError):
            pass
    # Many connections, each with its own messages.
    async def one(number):
        async with open() as connection:
            for part in range(20):
                message = f"{number} {part} " * (number + 1)
                await connection.send(message)
                assert await connection.recv() == message

    await asyncio.gather(*(one(number) for number in range(40)))
    # A handshake of another version is refused, and what is wrong with it is said.
    try:
        async with open(additional_headers={"Sec-WebSocket-Version": "8"}):
            raise AssertionError("two versions were taken")
    except InvalidStatus as refused:
        assert refused.response.status_code == 426, refused
    print("all well")


asyncio.run(main())
