"""The command `planespotter health`: ask a server whether it is ready, for whoever supervises it."""

from typing import Annotated

import typer

METHOD = "/grpc.health.v1.Health/Check"
SERVING = 1


def health(
    server: Annotated[str, typer.Option(help="Address of the server.", metavar="HOST:PORT")] = "127.0.0.1:50051",
    service: Annotated[str, typer.Option(help="Service to ask for; empty for the server as a whole.")] = "",
    timeout: Annotated[float, typer.Option(help="Seconds to wait for the answer.", min=0.1)] = 5.0,
) -> None:
    """Ask a server whether it is ready. For a container's health check.

    Example: planespotter health --server 127.0.0.1:50051

    Exit code 0: it serves. 1: it is starting, stopping or broken, or nothing answers.
    """
    import grpc
    from google.protobuf.wrappers_pb2 import Int32Value, StringValue

    from planespotter_client._errors import from_call
    from planespotter_client._shared import check_address

    with grpc.insecure_channel(check_address(server)) as channel:
        # The request is one string and the answer one number, which these types are too: no package is needed for it.
        check = channel.unary_unary(METHOD, StringValue.SerializeToString, Int32Value.FromString)
        try:
            status = check(StringValue(value=service), timeout=timeout).value
        except grpc.RpcError as error:
            raise from_call(error, server) from None
    typer.echo("SERVING" if status == SERVING else "NOT_SERVING")
    raise typer.Exit(0 if status == SERVING else 1)
