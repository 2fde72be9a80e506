"""The web application: the page, the model, and results streamed as JSON lines while they arrive."""

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Iterable
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
    DeadlineExceededError,
    Limits,
    Model,
    OverloadedError,
    PlaneSpotterError,
    UnavailableError,
)
from planespotter_client._errors import DOWNSCALE_HINT
from planespotter_client.web import presentation, uploads
from planespotter_client.web.middleware import SecurityMiddleware

PAGE = Path(__file__).parent / "page"
MEDIA_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}

RETRYABLE_ERRORS = (UnavailableError, DeadlineExceededError, OverloadedError)
# Concurrent uploads of all browsers: with the limits of an upload, they bound the memory.
MAX_UPLOADS = 8
TOP_K = 5
DOWNSCALE_ADVICE = "or tick “Scale large photos down” above and send it again"
DESCRIBE_TIMEOUT = 5.0
"""Seconds in which the gRPC server must describe itself, or it counts as unavailable."""
STATUS_TIMEOUT = 0.5
"""Seconds in which the gRPC server must respond to a status check: the page reports a lost server within a second."""
READ_TIMEOUT = 60.0
"""Seconds, in total, that the results of an upload wait for a slow browser before its place is released."""


def build_app(
    spotter: AsyncPlaneSpotter, host: str, allow_remote: bool, min_probability: float | None = None
) -> ASGIApp:
    """Return the application that serves the page on `host` and classifies its photos with `spotter`.

    A `min_probability` replaces the thresholds of the model.
    """
    api = _Api(spotter, min_probability)
    routes = [
        *static_routes(sorted(PAGE.iterdir())),
        Route("/model", api.model),
        Route("/status", api.status),
        Route("/photos", _AsgiRoute(api.photos), methods=["POST"]),
    ]
    return SecurityMiddleware(Starlette(routes=routes), host, allow_remote)


def static_routes(files: Iterable[Path]) -> list[Route]:
    """Return the routes of files; index.html is the root."""
    return [Route(f"/{'' if path.name == 'index.html' else path.name}", _static(path)) for path in files]


def _static(path: Path) -> Any:
    content, media_type = path.read_bytes(), MEDIA_TYPES[path.suffix]

    async def respond(_: Request) -> Response:
        return Response(content, media_type=media_type)

    return respond


def _rejected(status: int, reason: str) -> Response:
    return JSONResponse({"error": reason, "retryable": False}, status_code=status)


def _photo_error(error: PlaneSpotterError | None) -> dict[str, Any]:
    """Return why a photo failed, and whether it can succeed if it is sent again."""
    text = str(error)
    retryable = isinstance(error, RETRYABLE_ERRORS) or DOWNSCALE_HINT in text
    return {"error": text.replace(DOWNSCALE_HINT, DOWNSCALE_ADVICE), "retryable": retryable}


class _AsgiRoute:
    """An ASGI application as Starlette recognizes one: a callable that is not a function."""

    def __init__(self, call: ASGIApp) -> None:
        self._call = call

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._call(scope, receive, send)


class _ReadTimeoutError(Exception):
    """The browser does not read the results."""


def _with_timeout(seconds: float, send: Send) -> Send:
    """Return `send`, limited to `seconds` of waiting in total. Raises _ReadTimeoutError beyond."""
    left = seconds

    async def limited_send(message: Message) -> None:
        nonlocal left
        started = time.monotonic()
        try:
            async with asyncio.timeout(max(0.0, left)):
                await send(message)
        except TimeoutError as error:
            raise _ReadTimeoutError from error
        left -= time.monotonic() - started

    return limited_send


class _Api:
    """The endpoints that call the gRPC server."""

    def __init__(self, spotter: AsyncPlaneSpotter, min_probability: float | None) -> None:
        self._spotter = spotter
        self._min_probability = min_probability
        self._uploads = asyncio.Semaphore(MAX_UPLOADS)
        self._descriptions: dict[str, tuple[Model, Limits]] = {}  # by the requested model, "" for the default

    async def model(self, request: Request) -> Response:
        """Describe a model, by the query parameter name; 503 with the reason if the server is unavailable.

        A model that the server does not have is replaced by its default.
        """
        self._descriptions.clear()
        try:
            served = await self._spotter.list_models(timeout=DESCRIBE_TIMEOUT)
            names = list(dict.fromkeys(model.name for model in served))
            requested = request.query_params.get("name", "")
            model, limits = await self._describe(requested if requested in names else "")
        except PlaneSpotterError as error:
            return JSONResponse(self._error_json(error), status_code=503)
        return JSONResponse(
            {
                "address": self._spotter.address,
                "name": model.name,
                "models": names,
                "version": model.version,
                "taxonomy": presentation.taxonomy_summary(model),
                "accuracy": presentation.accuracy_sentences(model),
                "tree": model.tree,
                "input_size": model.input_size,
                "heat_map_supported": model.heat_map_supported,
                "limits": {
                    "max_photo_bytes": limits.max_photo_bytes,
                    "max_upload_bytes": uploads.max_bytes(limits),
                    "max_upload_photos": uploads.MAX_PHOTOS,
                },
            }
        )

    async def status(self, _: Request) -> Response:
        """Check whether the gRPC server responds now; 503 with the reason if not."""
        try:
            await self._spotter.get_server_info(timeout=STATUS_TIMEOUT)
        except PlaneSpotterError as error:
            if isinstance(error, DeadlineExceededError):  # its text would advise a longer timeout
                error = error.with_message(f"The server at {self._spotter.address} does not respond.")
            return JSONResponse(self._error_json(error), status_code=503)
        return JSONResponse({})

    async def photos(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Classify the photos of an upload: a line of JSON for each as it arrives, and a last one with the outcome.

        The query parameter model names a model of the server, and heat_map=true requests heat maps. An upload that is
        rejected gets an error: 400 if it is invalid, 415 if it is not multipart/form-data, 503 if the server is
        unavailable.
        """
        async with self._uploads:
            response = await self._respond(Request(scope, receive))
            with suppress(_ReadTimeoutError):  # the connection then ends with a partial response
                await response(scope, receive, _with_timeout(READ_TIMEOUT, send))

    async def _describe(self, name: str) -> tuple[Model, Limits]:
        if name not in self._descriptions:
            info = await self._spotter.get_server_info(timeout=DESCRIBE_TIMEOUT)
            model = await self._spotter.get_model(name, timeout=DESCRIBE_TIMEOUT)
            self._descriptions[name] = model, info.limits
        return self._descriptions[name]

    async def _respond(self, request: Request) -> Response:
        content_type = request.headers.get("content-type", "")
        if content_type.partition(";")[0].strip().lower() != uploads.MEDIA_TYPE:
            return _rejected(415, f"Send photos as {uploads.MEDIA_TYPE}.")
        name = request.query_params.get("model", "")
        try:
            model, limits = await self._describe(name)
            photos = await uploads.read_photos(content_type, request.stream(), limits)
        except PlaneSpotterError as error:
            return JSONResponse(self._error_json(error), status_code=503)
        except uploads.UploadError as error:
            return _rejected(400, str(error))
        except ClientDisconnect:
            return _rejected(400, "The upload was cut off.")
        options = {
            "model": name,
            "top_k": min(TOP_K, limits.max_top_k),
            "heat_map": request.query_params.get("heat_map") == "true",
            "min_probability": self._min_probability,
        }
        return StreamingResponse(self._lines(photos, model, options), media_type="application/x-ndjson")

    async def _lines(
        self, photos: dict[str, bytes], model: Model, options: dict[str, Any]
    ) -> AsyncGenerator[bytes, None]:
        async with aclosing(self._results(photos, model, options)) as results:
            async for line in results:
                yield json.dumps(line, ensure_ascii=False).encode() + b"\n"

    async def _results(
        self, photos: dict[str, bytes], model: Model, options: dict[str, Any]
    ) -> AsyncGenerator[dict[str, Any], None]:
        ids = list(photos)
        try:
            async for result in self._spotter.stream(photos.values(), **options):
                photo_id = ids[result.index]
                if result.prediction is None:
                    yield {"id": photo_id, **_photo_error(result.error)}
                else:
                    prediction = presentation.prediction_json(result.prediction, dict(model.tree))
                    yield {"id": photo_id, "prediction": prediction}
        except PlaneSpotterError as error:
            yield {"end": self._error_json(error)}
        else:
            yield {"end": None}

    def _error_json(self, error: PlaneSpotterError) -> dict[str, Any]:
        """Return the error, and whether the same photos may succeed later."""
        self._descriptions.clear()  # another server, with other limits, may respond next
        return {"error": str(error), "retryable": isinstance(error, RETRYABLE_ERRORS)}
