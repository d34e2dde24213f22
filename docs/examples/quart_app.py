"""
A shop in Quart: ``hypercorn quart_app:app``.
"""

import asyncio
from uuid import uuid4

from quart import Quart, Request, Websocket, request

from sendoff import Datadog, Dispatcher, Freshpaint
from sendoff.integrations.quart import install

dispatcher = Dispatcher(Datadog.from_env(), Freshpaint.from_env())


def context(request: Request | Websocket) -> dict[str, object]:
    return {"user_id": request.headers.get("x-user")}  # set by the gateway that signs users in


app = Quart(__name__)
install(app, dispatcher, context=context)


@app.post("/orders")
async def place() -> dict[str, str]:
    order = await request.get_json()
    order_id = str(uuid4())
    await asyncio.sleep(0.001)  # the shop's own work
    dispatcher.track("order.placed", properties={"order": order_id, "amount": order["amount"]})
    return {"order": order_id}
