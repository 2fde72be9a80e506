"""Interceptor around every call: authentication, concurrency limits, metrics, access log and error mapping.

An exception leaves the server only as a google.rpc.Status; gRPC itself would send its text to the caller.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import grpc
import structlog
from grpc_status import rpc_status

from planespotter_server.auth.authentication import Authenticator
from planespotter_server.observability.metrics import Metrics
from planespotter_server.rejections import RequestRejected
from planespotter_server.rpc import call_context
from planespotter_server.rpc.status import to_status, unwrapped
from planespotter_server.serving.concurrency import ConcurrencyLimiter

if TYPE_CHECKING:
    from planespotter_server.observability.tracing import Tracing

Context = grpc.aio.ServicerContext[Any, Any]
OURS = "/planespotter."
HEALTH = "/grpc.health.v1.Health/"
"""For probes and load balancers, which have no token."""

# A client's deadline passes slightly before the server's: gRPC rounds the timeout that it sends up, by 1 % at most.
EARLY_SECONDS, EARLY_FRACTION = 0.02, 0.01
CANCEL_GRACE_SECONDS = 0.001
"""A cancelled stream first looks as if the client had sent everything; the cancellation follows within this time."""

log = structlog.get_logger()


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Authenticates callers, limits and counts calls, parses unary requests, and maps exceptions to statuses.

    Unary requests are parsed here, so that a malformed one is rejected like any other invalid request. Messages of a
    stream are parsed when they are read, which is inside the interceptor too. All this holds for reflection as well;
    health checks are open to everybody.
    """

    def __init__(
        self,
        authenticator: Authenticator,
        limiter: ConcurrencyLimiter,
        metrics: Metrics,
        *,
        access_log: bool = False,
        tracing: "Tracing | None" = None,
    ) -> None:
        self._authenticator = authenticator
        self._limiter = limiter
        self._metrics = metrics
        self._access_log = access_log
        self._tracing = tracing
        self._watches: set[asyncio.Task[Any]] = set()

    def end_watches(self) -> None:
        """End the calls that stay open indefinitely, health Watch and reflection: a stopping server waits for them."""
        for watch in self._watches:
            watch.cancel()

    async def intercept_service(
        self, continuation: Callable[[Any], Awaitable[Any]], handler_call_details: grpc.HandlerCallDetails
    ) -> Any:
        """Return the handler of the call, wrapped."""
        handler = await continuation(handler_call_details)
        method = str(handler_call_details.method)
        if handler is None or method == f"{HEALTH}List":  # the health service declares it but does not implement it
            return grpc.stream_stream_rpc_method_handler(self._not_found(method))
        if handler.unary_unary is not None:
            return self._wrap_unary(handler, method)
        if handler.stream_stream is not None:
            return self._wrap_stream(handler, method)
        return self._wrap_watch(handler)  # of health; no other service has server streaming

    def _wrap_watch(self, handler: Any) -> Any:
        async def call(request: Any, context: Context) -> None:
            await self._until_ended(handler.unary_stream(request, context))

        return grpc.unary_stream_rpc_method_handler(
            call, handler.request_deserializer, response_serializer=handler.response_serializer
        )

    async def _until_ended(self, handling: Awaitable[None]) -> None:
        """Await `handling` until it ends, or until `end_watches` ends the call with OK."""
        watch = asyncio.ensure_future(handling)
        self._watches.add(watch)
        watch.add_done_callback(self._watches.discard)
        try:
            await watch
        except asyncio.CancelledError:
            if (task := asyncio.current_task()) is None or task.cancelling():  # the caller cancelled
                raise

    def _wrap_unary(self, handler: Any, method: str) -> Any:
        async def call(request: bytes, context: Context) -> Any:
            async def handle() -> Any:
                return await handler.unary_unary(handler.request_deserializer(request), context)

            return await self._run(method, context, handle, stream=False)

        return grpc.unary_unary_rpc_method_handler(call, None, response_serializer=handler.response_serializer)

    def _wrap_stream(self, handler: Any, method: str) -> Any:
        ours = method.startswith(OURS)

        async def call(requests: Any, context: Context) -> None:
            async def handle() -> None:
                if ours:
                    await handler.stream_stream(requests, context)
                else:
                    await self._until_ended(reflect())

            async def reflect() -> None:
                async for response in handler.stream_stream(requests, context):
                    await context.write(response)

            await self._run(method, context, handle, stream=ours)

        return grpc.stream_stream_rpc_method_handler(
            call, handler.request_deserializer, response_serializer=handler.response_serializer
        )

    def _not_found(self, method: str) -> Callable[[Any, Context], Awaitable[None]]:
        async def call(_: Any, context: Context) -> None:
            async def handle() -> None:
                raise RequestRejected(
                    "METHOD_NOT_FOUND",
                    "The method does not exist. planespotter/v1/classifier.proto has the methods, and reflection lists "
                    "them.",
                )

            await self._run(method, context, handle, stream=False)

        return call

    async def _run(self, method: str, context: Context, handle: Callable[[], Awaitable[Any]], *, stream: bool) -> Any:
        """Run `handle` and return its response; end the call with a status if it raises."""
        metadata = dict(context.invocation_metadata() or ())
        call = call_context.Call(method.rpartition("/")[2], call_context.choose_request_id(metadata))
        call_context.current.set(call)
        structlog.contextvars.bind_contextvars(request_id=call.request_id)
        counted = not method.startswith(HEALTH)
        traced = self._tracing.start_rpc(method, metadata, call.request_id) if self._tracing and counted else None
        request_id = (call_context.REQUEST_ID, call.request_id)
        if counted:
            self._metrics.start_rpc(method)
        started, code, allowed = time.perf_counter(), grpc.StatusCode.OK, context.time_remaining() or 0.0
        try:
            context.set_trailing_metadata((request_id,))
            if not counted:
                return await handle()
            call.client = self._authenticator.authenticate(metadata, context.peer())
            with self._limiter.acquire(call.client.key, stream, call.client.max_calls):
                response = await handle()
            if stream:
                await asyncio.sleep(CANCEL_GRACE_SECONDS)
            return response
        except grpc.aio.AbortError:
            code = grpc.StatusCode.UNKNOWN  # no code of this project aborts
            raise
        except asyncio.CancelledError:  # cancelled or past its deadline; gRPC must see it
            remaining = context.time_remaining()
            late = remaining is not None and remaining <= EARLY_SECONDS + EARLY_FRACTION * allowed
            code = grpc.StatusCode.DEADLINE_EXCEEDED if late else grpc.StatusCode.CANCELLED
            raise
        except Exception as error:
            status = rpc_status.to_status(to_status(unwrapped(error)))
            code = status.code
            await context.abort(status.code, status.details, (*status.trailing_metadata, request_id))
        finally:
            if self._tracing is not None and traced is not None:
                self._tracing.end_rpc(traced, code)
            if counted:
                seconds = round(time.perf_counter() - started, 6)
                self._metrics.end_rpc(method, code.name, seconds)
                if self._access_log:
                    log.info(
                        "rpc",
                        method=call.rpc[:64],
                        code=code.name,
                        client=call.client.key,
                        photos=call.photos,
                        seconds=seconds,
                    )
