"""
A shop in Sanic: ``sanic sanic_app:app``.
"""

import asyncio
from uuid import uuid4

from sanic import HTTPResponse, Request, Sanic, json

from sendoff import Datadog, Dispatcher, Freshpaint
from sendoff.integrations.sanic import install

dispatcher = Dispatcher(Datadog.from_env(), Freshpaint.from_env())


def context(request: Request) -> dict[str, object]:
    return {"user_id": request.headers.get("x-user")}  # set by the gateway that signs users in


app = Sanic("shop")
install(app, dispatcher, context=context)


@app.post("/orders")
async def place(request: Request) -> HTTPResponse:
    order_id = str(uuid4())
    await asyncio.sleep(0.001)  # the shop's own work
    properties = {"order": order_id, "amount": request.json["amount"]}
    dispatcher.track("order.placed", properties=properties)
    return json({"order": order_id})
