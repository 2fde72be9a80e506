"""Calls of the service over a real connection, and the status of those that fail."""

from collections.abc import Awaitable
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from planespotter.v1 import classifier_pb2_grpc as pb_grpc


def service(channel: grpc.aio.Channel) -> "pb_grpc.ClassifierServiceAsyncStub":
    return pb_grpc.ClassifierServiceStub(channel)


async def failure(call: Awaitable[object]) -> Any:
    """Return the error of a call that fails."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


async def status_of(call: Awaitable[object]) -> Any:
    """Return the google.rpc.Status of a call that fails."""
    status = rpc_status.from_call(await failure(call))
    assert status is not None
    return status


def reason(status: Any) -> str:
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert info.domain == "planespotter.v1"
    return str(info.reason)
