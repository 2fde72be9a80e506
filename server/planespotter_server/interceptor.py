"""The outermost layer of every call: what it lets in, and what it lets out.

Nothing but a google.rpc.Status leaves the server for an exception: left alone, gRPC would send its text to the caller.
"""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import grpc
from grpc_status import rpc_status

from planespotter_server.admission import Admission, client_of
from planespotter_server.errors import to_status, unwrapped

Context = grpc.aio.ServicerContext[Any, Any]
Result = TypeVar("Result")
OURS = "/planespotter."


class Outermost(grpc.aio.ServerInterceptor):
    """Counts the calls of this contract, parses single requests, and turns whatever is raised into a status.

    Single requests are parsed here so that one that does not parse is refused like any other bad request. What comes on
    a stream is parsed when it is read, which is inside this layer too.
    """

    def __init__(self, admission: Admission) -> None:
        self._admission = admission

    async def intercept_service(
        self, continuation: Callable[[Any], Awaitable[Any]], handler_call_details: grpc.HandlerCallDetails
    ) -> Any:
        """Return the handler of the call within this layer; those of health and reflection are only parsed for."""
        handler = await continuation(handler_call_details)
        ours = str(handler_call_details.method).startswith(OURS)
        if handler is not None and handler.unary_unary is not None:
            return self._unary(handler, ours)
        if handler is not None and handler.stream_stream is not None and ours:
            return self._stream(handler)
        return handler

    def _unary(self, handler: Any, counted: bool) -> Any:
        async def answer(request: bytes, context: Context) -> Any:
            if not counted:
                return await handler.unary_unary(handler.request_deserializer(request), context)
            with self._admission.admit(client_of(context.peer()), stream=False):
                return await handler.unary_unary(handler.request_deserializer(request), context)

        async def call(request: bytes, context: Context) -> Any:
            return await _telling(context, answer(request, context))

        return grpc.unary_unary_rpc_method_handler(call, None, response_serializer=handler.response_serializer)

    def _stream(self, handler: Any) -> Any:
        async def answer(requests: Any, context: Context) -> None:
            with self._admission.admit(client_of(context.peer()), stream=True):
                await handler.stream_stream(requests, context)

        async def call(requests: Any, context: Context) -> None:
            await _telling(context, answer(requests, context))

        return grpc.stream_stream_rpc_method_handler(
            call, handler.request_deserializer, response_serializer=handler.response_serializer
        )


async def _telling(context: Context, work: Awaitable[Result]) -> Result | None:
    """Return what `work` returns; end the call with a status for whatever it raises."""
    try:
        return await work
    except grpc.aio.AbortError:
        raise
    except Exception as error:  # not CancelledError: the caller has gone, and gRPC must hear of it
        await context.abort_with_status(rpc_status.to_status(to_status(unwrapped(error))))
        return None
