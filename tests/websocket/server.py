"""A WebSocket server for the tests: echoes messages, and does what some of them say. Prints its port."""

import asyncio

from websockets.asyncio.server import serve


async def handle(connection):
    async for message in connection:
        if message == "close 4321":
            await connection.close(4321, "as told")
        elif message == "ping":
            await (await connection.ping(b"from the server"))
            await connection.send("ponged")
        elif message == "fragments":
            await connection.send(["one ", "two ", "", "thrée"])
        elif message == "extensions":
            names = [extension.name for extension in connection.protocol.extensions]
            await connection.send(",".join(names))
        elif message == "subprotocol":
            await connection.send(str(connection.subprotocol))
        else:
            await connection.send(message)


async def main():
    async with serve(handle, "127.0.0.1", 0, subprotocols=["chat"], max_size=None) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()


asyncio.run(main())
