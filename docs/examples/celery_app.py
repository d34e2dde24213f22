"""
A shop's worker on Celery: ``celery --app celery_app worker --concurrency 4``.
"""

from celery import Celery, Task

from sendoff import Datadog, Dispatcher, Freshpaint
from sendoff.integrations.celery import install

# Celery has no event loop: each process of the pool sends from a thread of its own.
dispatcher = Dispatcher(Datadog.from_env(), Freshpaint.from_env(), blocking=True)

app = Celery("shop")  # its broker is in CELERY_BROKER_URL


@app.task
def ship(order: str, user: str) -> str:
    dispatcher.track("order.shipped", properties={"order": order})
    return order


def context(task: Task) -> dict[str, object]:
    return {"user_id": task.request.args[1]}  # or a header that the sender sets


install(app, dispatcher, context=context)
