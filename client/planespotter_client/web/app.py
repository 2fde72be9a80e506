"""What the page's server answers: the page, the model, and the answers to photos as they come."""

import asyncio
import json
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from planespotter_client import (
    AsyncPlaneSpotter,
    DeadlineError,
    Model,
    OverloadedError,
    PlaneSpotterError,
    UnavailableError,
)
from planespotter_client.web import presentation, uploads
from planespotter_client.web.middleware import Guard

PAGE = Path(__file__).parent / "page"
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}

# Parcels that are worked on at a time, of all who have the page open: together they bound the memory.
PARCELS = 8
ALTERNATIVES = 5
ASKING = 5.0
"""Seconds in which the server must describe itself, or it counts as away."""
READING = 60.0
"""Seconds, in all, that the answers to a parcel wait for somebody to read them, and keep a place from others."""


def site(spotter: AsyncPlaneSpotter, host: str, shared: bool) -> ASGIApp:
    """Return the application that serves the page and passes its photos to `spotter`."""
    desk = _Desk(spotter)
    files = [
        Route(f"/{'' if path.name == 'index.html' else path.name}", _file(path)) for path in sorted(PAGE.iterdir())
    ]
    routes = [*files, Route("/model", desk.model), Route("/photos", _Application(desk.photos), methods=["POST"])]
    return Guard(Starlette(routes=routes), host, shared)


def _file(path: Path) -> Any:
    content, media_type = path.read_bytes(), TYPES[path.suffix]

    async def file(_: Request) -> Response:
        return Response(content, media_type=media_type)

    return file


def _refused(status: int, why: str) -> Response:
    return JSONResponse({"error": why, "again": False}, status_code=status)


class _Application:
    """An ASGI application as Starlette knows one: anything that can be called and is no function."""

    def __init__(self, call: ASGIApp) -> None:
        self._call = call

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._call(scope, receive, send)


class _NotReadError(Exception):
    """Whoever asked does not read the answers."""


def _within(seconds: float, send: Send) -> Send:
    """Return `send` with an end of patience: raises _NotReadError if it waits for longer than `seconds` in all."""
    left = seconds

    async def bounded(message: Message) -> None:
        nonlocal left
        began = time.monotonic()
        try:
            async with asyncio.timeout(max(0.0, left)):
                await send(message)
        except TimeoutError as error:
            raise _NotReadError from error
        left -= time.monotonic() - began

    return bounded


class _Desk:
    """Takes the page's questions to the server."""

    def __init__(self, spotter: AsyncPlaneSpotter) -> None:
        self._spotter = spotter
        self._places = asyncio.Semaphore(PARCELS)
        self._known: Model | None = None

    async def model(self, _: Request) -> Response:
        """Describe who answers; 503 with the reason where nobody does."""
        try:
            model = self._known = await self._spotter.model(timeout=ASKING)
        except PlaneSpotterError as error:
            return JSONResponse(self._why(error), status_code=503)
        return JSONResponse(
            {
                "address": self._spotter.address,
                "name": model.name,
                "version": model.version,
                "knows": presentation.knows(model),
                "accuracy": presentation.accuracy(model),
                "tree": model.tree,
                "input": model.input_size,
                "explains": model.can_explain,
                "limits": {
                    "photo_bytes": model.limits.max_photo_bytes,
                    "parcel_bytes": uploads.most_bytes(model.limits),
                    "parcel_photos": uploads.MOST_PHOTOS,
                },
            }
        )

    async def photos(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a parcel of photos with a line of JSON for each, as they come, and a last one that says how it ended.

        A parcel that is not taken at all has one sentence: 400 if it is not as it should be, 503 if nobody answers.
        """
        async with self._places:
            response = await self._taken(Request(scope, receive))
            with suppress(_NotReadError):  # the connection then ends with half an answer
                await response(scope, receive, _within(READING, send))

    async def _taken(self, request: Request) -> Response:
        if request.headers.get("content-type") != uploads.MEDIA_TYPE:
            return _refused(415, f"Photos come as {uploads.MEDIA_TYPE}.")
        try:
            model = self._known = self._known or await self._spotter.model(timeout=ASKING)
            parcel = await uploads.read(request.stream(), model.limits)
        except PlaneSpotterError as error:
            return JSONResponse(self._why(error), status_code=503)
        except uploads.ParcelError as error:
            return _refused(400, str(error))
        except ClientDisconnect:
            return _refused(400, "The photos did not come to their end.")
        return StreamingResponse(self._lines(parcel, model), media_type="application/x-ndjson")

    async def _lines(self, parcel: uploads.Parcel, model: Model) -> AsyncGenerator[bytes, None]:
        async with aclosing(self._answers(parcel, model)) as answers:
            async for line in answers:
                yield json.dumps(line, ensure_ascii=False).encode() + b"\n"

    async def _answers(self, parcel: uploads.Parcel, model: Model) -> AsyncGenerator[dict[str, Any], None]:
        names, photos = zip(*parcel.photos, strict=True)
        count = min(ALTERNATIVES, model.limits.max_alternatives)
        try:
            async for one in self._spotter.stream(photos, alternatives=count, explain=parcel.explain):
                name = names[one.index]
                if one.classification is None:
                    yield {"id": name, "error": str(one.error)}
                else:
                    yield {"id": name, "answer": presentation.answer(one.classification, dict(model.tree))}
        except PlaneSpotterError as error:
            yield {"end": self._why(error)}
        else:
            yield {"end": None}

    def _why(self, error: PlaneSpotterError) -> dict[str, Any]:
        """Return why there is no answer, and whether the same photos may be answered later."""
        self._known = None  # whoever answers next may be another, with other limits
        again = isinstance(error, UnavailableError | DeadlineError | OverloadedError)
        return {"error": str(error), "again": again}
