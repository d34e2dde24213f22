"""
A shop in Django, in one file: ``uvicorn django_app:application``, or by WSGI
``gunicorn django_app:wsgi_application --workers 4``.
"""

import json
from uuid import uuid4

import django
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, JsonResponse
from django.urls import path

from sendoff import Datadog, Dispatcher, Freshpaint
from sendoff.integrations.django import install

# WSGI has no event loop: each worker process sends from a thread of its own. A shop that is served
# by ASGI alone may leave `blocking` out and send from the server's loop.
dispatcher = Dispatcher(Datadog.from_env(), Freshpaint.from_env(), blocking=True)


def place(request: HttpRequest) -> JsonResponse:
    order_id = str(uuid4())
    properties = {"order": order_id, "amount": json.loads(request.body)["amount"]}
    dispatcher.track("order.placed", properties=properties)
    return JsonResponse({"order": order_id})


async def search(request: HttpRequest) -> JsonResponse:
    words = request.GET.get("q", "").split()
    dispatcher.track("search.made", properties={"words": len(words)})
    return JsonResponse({"found": []})


def context(request: HttpRequest) -> dict[str, object]:
    return {"user_id": request.headers.get("x-user")}  # yours asks `request.user`


settings.configure(
    ALLOWED_HOSTS=["127.0.0.1", "localhost"],
    MIDDLEWARE=["sendoff.integrations.django.BindMiddleware"],  # yours: behind authentication
    ROOT_URLCONF=(path("orders", place), path("search", search)),
)
django.setup()

# The one stands in asgi.py, the other in wsgi.py.
application = install(get_asgi_application(), dispatcher, context=context)
wsgi_application = install(get_wsgi_application(), dispatcher, context=context)
