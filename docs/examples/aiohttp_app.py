"""
A shop in aiohttp.web: ``python -m aiohttp_app``, or
``gunicorn -k aiohttp.GunicornWebWorker aiohttp_app:app``.
"""

import asyncio
import os
from uuid import uuid4

from aiohttp import web

from sendoff import Datadog, Dispatcher, Freshpaint
from sendoff.integrations.aiohttp import install

dispatcher = Dispatcher(Datadog.from_env(), Freshpaint.from_env())


def context(request: web.Request) -> dict[str, object]:
    return {"user_id": request.headers.get("x-user")}  # set by the gateway that signs users in


async def place(request: web.Request) -> web.Response:
    order = await request.json()
    order_id = str(uuid4())
    await asyncio.sleep(0.001)  # the shop's own work
    dispatcher.track("order.placed", properties={"order": order_id, "amount": order["amount"]})
    return web.json_response({"order": order_id})


app = web.Application()
app.router.add_post("/orders", place)
install(app, dispatcher, context=context)

if __name__ == "__main__":
    web.run_app(app, host="127.0.0.1", port=int(os.environ.get("PORT", "8000")))
