"""
FastAPI: Starlette's verbs, and the dispatcher as a dependency.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends
from fastapi.requests import HTTPConnection

from sendoff import Dispatcher
from sendoff.integrations.starlette import dispatcher_of, install

__all__ = ["DispatcherDep", "dispatcher_of", "install"]


async def _dispatcher(connection: HTTPConnection) -> Dispatcher:
    # A coroutine, because FastAPI runs plain functions in a thread, which costs more than they do.
    return dispatcher_of(connection)


DispatcherDep = Annotated[Dispatcher, Depends(_dispatcher)]
"""
The type of a handler's argument that is to be the installed dispatcher, as in
``async def checkout(dispatcher: DispatcherDep)``. A request without one fails with a LookupError.
"""
