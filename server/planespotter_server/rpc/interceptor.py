"""The outermost layer of every call: who is let in, what is noted of it, and what it lets out.

Nothing but a google.rpc.Status leaves the server for an exception: left alone, gRPC would send its text to the caller.
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
HEALTH = "/grpc.health.v1.Health/"  # for probes and load balancers, which have no token

# The clock of a caller ends a call a little before ours would: gRPC rounds the time that it sends up, by 1 % at most.
EARLY_SECONDS, EARLY_SHARE = 0.02, 0.01
# A stream that is cut off looks at first as if its caller had sent all; that it was cut off comes right behind.
CUT_OFF_SECONDS = 0.001

log = structlog.get_logger()


class Outermost(grpc.aio.ServerInterceptor):
    """Lets in who may call, counts calls, parses single requests, and turns whatever is raised into a status.

    Single requests are parsed here so that one that does not parse is refused like any other bad request. What comes on
    a stream is parsed when it is read, which is inside this layer too. All this holds for reflection as well; health
    is open to everybody.
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
        self._onlookers: set[asyncio.Task[Any]] = set()

    def dismiss(self) -> None:
        """End what stays open for ever, health's Watch and reflection: a server that stops would wait for it."""
        for onlooker in self._onlookers:
            onlooker.cancel()

    async def intercept_service(
        self, continuation: Callable[[Any], Awaitable[Any]], handler_call_details: grpc.HandlerCallDetails
    ) -> Any:
        """Return the handler of the call within this layer."""
        handler = await continuation(handler_call_details)
        method = str(handler_call_details.method)
        if handler is None or method == f"{HEALTH}List":  # which the health service names but does not have
            return grpc.stream_stream_rpc_method_handler(self._unknown(method))
        if handler.unary_unary is not None:
            return self._unary(handler, method)
        if handler.stream_stream is not None:
            return self._stream(handler, method)
        return self._watch(handler)  # health's: reflection and we have none of the other kinds

    def _watch(self, handler: Any) -> Any:
        async def call(request: Any, context: Context) -> None:
            await self._look_on(handler.unary_stream(request, context))

        return grpc.unary_stream_rpc_method_handler(
            call, handler.request_deserializer, response_serializer=handler.response_serializer
        )

    async def _look_on(self, looking: Awaitable[None]) -> None:
        """Await `looking` until it ends or the server dismisses it, which ends the call well."""
        onlooker = asyncio.ensure_future(looking)
        self._onlookers.add(onlooker)
        onlooker.add_done_callback(self._onlookers.discard)
        try:
            await onlooker
        except asyncio.CancelledError:
            if (task := asyncio.current_task()) is None or task.cancelling():  # its caller has gone
                raise

    def _unary(self, handler: Any, method: str) -> Any:
        async def call(request: bytes, context: Context) -> Any:
            async def answer() -> Any:
                return await handler.unary_unary(handler.request_deserializer(request), context)

            return await self._around(method, context, answer, stream=False)

        return grpc.unary_unary_rpc_method_handler(call, None, response_serializer=handler.response_serializer)

    def _stream(self, handler: Any, method: str) -> Any:
        ours = method.startswith(OURS)

        async def call(requests: Any, context: Context) -> None:
            async def answer() -> None:
                if ours:
                    await handler.stream_stream(requests, context)
                else:
                    await self._look_on(reflect())

            async def reflect() -> None:
                async for response in handler.stream_stream(requests, context):
                    await context.write(response)

            await self._around(method, context, answer, stream=ours)

        return grpc.stream_stream_rpc_method_handler(
            call, handler.request_deserializer, response_serializer=handler.response_serializer
        )

    def _unknown(self, method: str) -> Callable[[Any, Context], Awaitable[None]]:
        async def call(_: Any, context: Context) -> None:
            async def answer() -> None:
                raise RequestRejected(
                    "METHOD_NOT_FOUND",
                    "This server has no such method. planespotter/v1/classifier.proto names those that it has, and "
                    "reflection lists them.",
                )

            await self._around(method, context, answer, stream=False)

        return call

    async def _around(
        self, method: str, context: Context, answer: Callable[[], Awaitable[Any]], *, stream: bool
    ) -> Any:
        """Return what `answer` returns; end the call with a status for whatever it raises."""
        metadata = dict(context.invocation_metadata() or ())
        call = call_context.Call(method.rpartition("/")[2], call_context.choose_request_id(metadata))
        call_context.current.set(call)
        structlog.contextvars.bind_contextvars(request_id=call.request_id)
        counted = not method.startswith(HEALTH)
        traced = self._tracing.start_rpc(method, metadata, call.request_id) if self._tracing and counted else None
        last_word = (call_context.REQUEST_ID, call.request_id)
        if counted:
            self._metrics.start_rpc(method)
        started, code, allowed = time.perf_counter(), grpc.StatusCode.OK, context.time_remaining() or 0.0
        try:
            context.set_trailing_metadata((last_word,))
            if not counted:
                return await answer()
            call.client = self._authenticator.authenticate(metadata, context.peer())
            with self._limiter.acquire(call.client.key, stream, call.client.max_calls):
                answered = await answer()
            if stream:
                await asyncio.sleep(CUT_OFF_SECONDS)
            return answered
        except grpc.aio.AbortError:
            code = grpc.StatusCode.UNKNOWN  # nothing of ours aborts by itself
            raise
        except asyncio.CancelledError:  # the caller has gone or its time is up, and gRPC must hear of it
            remaining = context.time_remaining()
            late = remaining is not None and remaining <= EARLY_SECONDS + EARLY_SHARE * allowed
            code = grpc.StatusCode.DEADLINE_EXCEEDED if late else grpc.StatusCode.CANCELLED
            raise
        except Exception as error:
            status = rpc_status.to_status(to_status(unwrapped(error)))
            code = status.code
            await context.abort(status.code, status.details, (*status.trailing_metadata, last_word))
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
