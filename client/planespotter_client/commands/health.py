"""`planespotter health`: the gRPC health check of a server, for probes and supervisors."""

from typing import Annotated

import typer

from planespotter_client.commands import options

app = typer.Typer()

METHOD = "/grpc.health.v1.Health/Check"
SERVING = 1


@app.command()
def health(
    server: options.SingleServer = None,
    service: Annotated[str, typer.Option(help="Service to check; empty checks the server as a whole.")] = "",
    timeout: Annotated[float, typer.Option(help="Seconds to wait for the response.", min=0.1)] = 5.0,
    tls: options.Tls = False,
    tls_ca: options.TlsCa = None,
    tls_cert: options.TlsCert = None,
    tls_key: options.TlsKey = None,
    tls_name: options.TlsName = None,
    verbose: options.Verbose = False,
) -> None:
    """Check whether a server is ready. For the health check of a container.

    Example: planespotter health --server 127.0.0.1:50051

    Example: planespotter health --tls-ca ca.pem --tls-name planes.example

    It needs no token.

    Exit codes: 0 serving; 1 starting, stopping, broken or unreachable; 2 wrong usage.
    """
    import grpc
    from google.protobuf.wrappers_pb2 import Int32Value, StringValue

    from planespotter_client._channels import proxy_options
    from planespotter_client._credentials import security
    from planespotter_client._errors import NotFoundError, from_call

    address, tls = options.single_server(server, tls)
    secured = security(address, token="", tls=tls, tls_ca=tls_ca, tls_cert=tls_cert, tls_key=tls_key, tls_name=tls_name)
    channel_options = [*proxy_options(address), *secured.options]
    with (
        grpc.insecure_channel(address, channel_options)
        if secured.credentials is None
        else grpc.secure_channel(address, secured.credentials, channel_options)
    ) as channel:
        # On the wire, the request is a string and the response a number, as in these types: no package is needed.
        check = channel.unary_unary(METHOD, StringValue.SerializeToString, Int32Value.FromString)
        try:
            status = check(StringValue(value=service), timeout=timeout).value
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:
                raise NotFoundError(
                    f"The server at {address} has no service {service!r}. Omit --service to check the server."
                ) from None
            raise from_call(error, address) from error
    typer.echo("SERVING" if status == SERVING else "NOT_SERVING")
    raise typer.Exit(0 if status == SERVING else 1)
