"""
A shop in Flask: ``gunicorn flask_app:app --workers 4``.
"""

from uuid import uuid4

from flask import Flask, Request, request

from sendoff import Datadog, Dispatcher, Freshpaint
from sendoff.integrations.flask import install

# Flask has no event loop: each worker process sends from a thread of its own.
dispatcher = Dispatcher(Datadog.from_env(), Freshpaint.from_env(), blocking=True)

app = Flask(__name__)


@app.post("/orders")
def place() -> dict[str, str]:
    order_id = str(uuid4())
    properties = {"order": order_id, "amount": request.get_json()["amount"]}
    dispatcher.track("order.placed", properties=properties)
    return {"order": order_id}


def context(request: Request) -> dict[str, object]:
    return {"user_id": request.headers.get("x-user")}  # set by the gateway that signs users in


install(app, dispatcher, context=context)
