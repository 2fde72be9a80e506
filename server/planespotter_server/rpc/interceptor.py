"""Interceptor around every call: authentication, concurrency limits, metrics, access log and error mapping.

An exception leaves the server only as a google.rpc.Status; gRPC itself would send its text to the caller.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc
import structlog
from google.protobuf.message import DecodeError
from grpc_status import rpc_status

from planespotter_server.auth.authentication import Authenticator, Client, client_address
from planespotter_server.observability.metrics import Metrics
from planespotter_server.rejections import RequestRejected, request_compressed, request_incomplete, request_malformed
from planespotter_server.rpc import call_context
from planespotter_server.rpc.status import to_status, unwrapped
from planespotter_server.serving.concurrency import ConcurrencyLimiter
from planespotter_server.serving.memory_limiter import MemoryLimiter

if TYPE_CHECKING:
    from planespotter_server.observability.tracing import Tracing

Context = grpc.aio.ServicerContext[Any, Any]
OURS = "/planespotter."
HEALTH = "/grpc.health.v1.Health/"
"""For probes and load balancers, which have no token."""
# Health checks are open to everybody, and gRPC receives a message of up to max_message_bytes. So only one is received
# at a time, and it must arrive at once, as a few bytes do; after one that does not, none is received for a while. All
# others get the health of the whole server, which is that of its service, too.
HEALTH_RECEIVE_SECONDS, HEALTH_CLOSED_SECONDS = 0.25, 5.0
WHOLE_SERVER = b""
MAX_WATCHES = 256
MAX_WATCHES_PER_ADDRESS = 64

# A client's deadline passes slightly before the server's: gRPC rounds the timeout that it sends up, by 1 % at most.
EARLY_SECONDS, EARLY_FRACTION = 0.02, 0.01
CANCEL_GRACE_SECONDS = 0.001
"""A cancelled stream first looks as if the client had sent everything; the cancellation follows within this time."""

# First bytes of gzip and of zlib. gRPC does not decompress for this server, and neither begins a request of this API.
COMPRESSED = (b"\x1f\x8b", b"\x78")

log = structlog.get_logger()


@dataclass(frozen=True)
class ReceiveLimits:
    """What bounds the requests that are arriving.

    Args:
        check_capacity: Called with the method and the client before a unary request is received; raises RequestRejected
            if it would be rejected anyway.
        memory: Ends calls that receive while memory is short.
        timeout: Seconds within which a unary request must arrive.
    """

    check_capacity: Callable[[str, Client], None]
    memory: MemoryLimiter
    timeout: float


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Authenticates callers, limits and counts calls, receives unary requests, and maps exceptions to statuses.

    To gRPC every method is a stream of requests, of which it reads none by itself: so a call is rejected before its
    request is received. Unary requests are parsed here, so that a malformed one is rejected like any other invalid
    request. Messages of a stream are parsed when they are read, which is inside the interceptor too. All this holds for
    reflection as well; health checks are open to everybody.
    """

    def __init__(
        self,
        authenticator: Authenticator,
        limiter: ConcurrencyLimiter,
        receive_limits: ReceiveLimits,
        metrics: Metrics,
        *,
        access_log: bool = False,
        tracing: "Tracing | None" = None,
    ) -> None:
        self._authenticator = authenticator
        self._limiter = limiter
        self._receive_limits = receive_limits
        self._health_receiving = False
        self._health_closed_until = 0.0
        self._watch_limiter = ConcurrencyLimiter(MAX_WATCHES, MAX_WATCHES_PER_ADDRESS, MAX_WATCHES_PER_ADDRESS)
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
        return self._wrap_watch(handler, method)  # of health; no other service has server streaming

    def _wrap_watch(self, handler: Any, method: str) -> Any:
        async def call(_: Any, context: Context) -> None:
            async def handle() -> None:
                with self._watch_limiter.acquire(client_address(context.peer()), stream=True):
                    request = await self._receive_health(context)
                    await self._until_ended(handler.unary_stream(handler.request_deserializer(request), context))

            await self._run(method, context, handle, stream=False)

        return grpc.stream_stream_rpc_method_handler(call, None, response_serializer=handler.response_serializer)

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
        receive = self._receive_health if method.startswith(HEALTH) else self._receive
        parse = _parser(handler)

        async def call(_: Any, context: Context) -> Any:
            async def handle() -> Any:
                return await handler.unary_unary(parse(await receive(context)), context)

            return await self._run(method, context, handle, stream=False)

        return grpc.stream_unary_rpc_method_handler(call, None, response_serializer=handler.response_serializer)

    async def _receive(self, context: Context) -> bytes:
        """Return the request of a unary call.

        Raises:
            RequestRejected: It does not arrive in time, or is rejected regardless of its content.
        """
        call, limits = call_context.current.get(), self._receive_limits
        limits.check_capacity(call.rpc, call.client)
        try:
            async with asyncio.timeout(limits.timeout) as deadline:
                with limits.memory.receiving(call.client.key, lambda: deadline.reschedule(0)):
                    request = await context.read()
        except TimeoutError:
            raise (limits.memory.rejection() if deadline.when() == 0 else request_incomplete(limits.timeout)) from None
        return await _request_or_end(request)

    async def _receive_health(self, context: Context) -> bytes:
        """Return the request of a health check; if it does not arrive at once, the one about the whole server."""
        now = asyncio.get_running_loop().time()
        if self._health_receiving or now < self._health_closed_until:
            return WHOLE_SERVER
        self._health_receiving = True
        try:
            async with asyncio.timeout(HEALTH_RECEIVE_SECONDS):
                return await _request_or_end(await context.read())
        except TimeoutError:
            self._health_closed_until = now + HEALTH_CLOSED_SECONDS
            return WHOLE_SERVER
        finally:
            self._health_receiving = False

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
            call, _parser(handler), response_serializer=handler.response_serializer
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
            if is_broken_connection(error):
                code = grpc.StatusCode.CANCELLED
                raise asyncio.CancelledError from error
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


def _parser(handler: Any) -> Callable[[bytes], Any]:
    """Return what parses a request of `handler`; it raises DecodeError, or RequestRejected with the reason."""

    def parse(request: bytes) -> Any:
        try:
            return handler.request_deserializer(request)
        except DecodeError as error:
            raise request_compressed() if request.startswith(COMPRESSED) else error from None

    return parse


async def _request_or_end(request: Any) -> bytes:
    """Return the request of a unary call.

    Raises:
        RequestRejected: The client has ended its side without a request.
    """
    if request is grpc.aio.EOF:
        await asyncio.sleep(CANCEL_GRACE_SECONDS)
        raise request_malformed()
    assert isinstance(request, bytes)
    return request


def is_broken_connection(error: BaseException) -> bool:
    """Return whether `error` only says that a response could not be sent, because the client has gone."""
    if isinstance(error, BaseExceptionGroup):
        return all(is_broken_connection(each) for each in error.exceptions)
    return isinstance(error, grpc.aio.InternalError)
