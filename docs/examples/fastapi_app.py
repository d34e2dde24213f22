"""
A shop in FastAPI: ``uvicorn fastapi_app:app``.
"""

import asyncio
from uuid import uuid4

from fastapi import FastAPI
from fastapi.requests import HTTPConnection
from pydantic import BaseModel

from sendoff import Datadog, Dispatcher, Freshpaint
from sendoff.integrations.fastapi import DispatcherDep, install


class Order(BaseModel):
    amount: float


def context(request: HTTPConnection) -> dict[str, object]:
    return {"user_id": request.headers.get("x-user")}  # set by the gateway that signs users in


app = FastAPI()
install(app, Dispatcher(Datadog.from_env(), Freshpaint.from_env()), context=context)


@app.post("/orders")
async def place(order: Order, dispatcher: DispatcherDep) -> dict[str, str]:
    order_id = str(uuid4())
    await asyncio.sleep(0.001)  # the shop's own work
    dispatcher.track("order.placed", properties={"order": order_id, "amount": order.amount})
    return {"order": order_id}
