"""
A shop on AWS Lambda, behind API Gateway or a function URL: its handler is ``lambda_app.handler``.
"""

import json
from typing import Any
from uuid import uuid4

from sendoff import Datadog, Dispatcher, Freshpaint
from sendoff.integrations.aws_lambda import install

# Made once, outside of the handler: it is kept from call to call, with its connections. It sends
# from a thread of its own, and holds at most 8 MB of the memory that the function pays for.
dispatcher = Dispatcher(
    Datadog.from_env(), Freshpaint.from_env(), blocking=True, max_queue_bytes=8 * 2**20
)


def place(event: dict[str, Any], context: Any) -> dict[str, Any]:
    order_id = str(uuid4())
    properties = {"order": order_id, "amount": json.loads(event["body"])["amount"]}
    dispatcher.track("order.placed", properties=properties)
    return {"statusCode": 200, "body": json.dumps({"order": order_id})}


def context(event: dict[str, Any]) -> dict[str, object]:
    return {"user_id": event["headers"].get("x-user")}  # yours asks the authorizer


handler = install(place, dispatcher, context=context)
