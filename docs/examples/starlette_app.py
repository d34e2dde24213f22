"""
A shop in Starlette: ``granian --interface asgi starlette_app:app``.
"""

import asyncio
from uuid import uuid4

from starlette.applications import Starlette
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from sendoff import Datadog, Dispatcher, Freshpaint
from sendoff.integrations.starlette import install

dispatcher = Dispatcher(Datadog.from_env(), Freshpaint.from_env())


def context(request: HTTPConnection) -> dict[str, object]:
    return {"user_id": request.headers.get("x-user")}  # set by the gateway that signs users in


async def place(request: Request) -> JSONResponse:
    order = await request.json()
    order_id = str(uuid4())
    await asyncio.sleep(0.001)  # the shop's own work
    dispatcher.track("order.placed", properties={"order": order_id, "amount": order["amount"]})
    return JSONResponse({"order": order_id})


app = Starlette(routes=[Route("/orders", place, methods=["POST"])])
install(app, dispatcher, context=context)
