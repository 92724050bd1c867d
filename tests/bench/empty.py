"""The yardstick: an empty Starlette route."""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route


async def nothing(request: Request) -> Response:
    """Reads the body, as any webhook must, and answers."""
    await request.body()
    return Response(status_code=204)


app = Starlette(routes=[Route("/webhooks/leadterra", nothing, methods=["GET", "POST"])])
