"""
A shop's worker on arq: ``arq arq_app.WorkerSettings``.
"""

import os
from typing import Any

from arq.connections import RedisSettings

from sendoff import Datadog, Dispatcher, Freshpaint
from sendoff.integrations.arq import install

dispatcher = Dispatcher(Datadog.from_env(), Freshpaint.from_env())


async def ship(ctx: dict[str, Any], order: str, user: str) -> str:
    dispatcher.track("order.shipped", user_id=user, properties={"order": order})
    return order


class WorkerSettings:
    functions = (ship,)
    redis_settings = RedisSettings.from_dsn(os.environ.get("REDIS_URL", "redis://127.0.0.1:6379"))


def context(ctx: dict[str, Any]) -> dict[str, object]:
    return {"properties": {"job": ctx["job_id"], "try": ctx["job_try"]}}


install(WorkerSettings, dispatcher, context=context)
