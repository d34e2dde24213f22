"""
A shop in Litestar: ``granian --interface asgi litestar_app:app``.
"""

import asyncio
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from litestar import Litestar, post
from litestar.connection import ASGIConnection

from sendoff import Datadog, Dispatcher, Freshpaint
from sendoff.integrations.litestar import SendoffPlugin

dispatcher = Dispatcher(Datadog.from_env(), Freshpaint.from_env())


@dataclass
class Order:
    amount: float


def context(request: ASGIConnection[Any, Any, Any, Any]) -> dict[str, object]:
    return {"user_id": request.headers.get("x-user")}  # set by the gateway that signs users in


@post("/orders", status_code=200)
async def place(data: Order) -> dict[str, str]:
    order_id = str(uuid4())
    await asyncio.sleep(0.001)  # the shop's own work
    dispatcher.track("order.placed", properties={"order": order_id, "amount": data.amount})
    return {"order": order_id}


app = Litestar([place], plugins=[SendoffPlugin(dispatcher, context=context)])
