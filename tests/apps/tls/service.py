# A service by asyncio's own TLS, which works on memory, without any instrumentation: service.py PORT KEY CERTIFICATE
import asyncio
import ssl
import sys


async def serve(reader, writer):
    while line := await reader.readline():
        while (await reader.readline()).strip():
            pass
        path = line.split()[1]
        status = b"200 OK" if path.startswith(b"/users/") else b"404 Not Found"
        writer.write(b"HTTP/1.1 %b\r\nContent-Length: %d\r\n\r\n%b" % (status, len(path), path))
        await writer.drain()
    writer.close()


async def main(port, key, certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = await asyncio.start_server(serve, "127.0.0.1", int(port), ssl=context)
    await server.serve_forever()


asyncio.run(main(*sys.argv[1:]))
