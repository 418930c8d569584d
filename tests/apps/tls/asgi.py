"""A service in ASGI that answers /users/{id}."""


async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    status = 200 if scope["path"].startswith("/users/") else 404
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"5")]})
    await send({"type": "http.response.body", "body": b"found"})
