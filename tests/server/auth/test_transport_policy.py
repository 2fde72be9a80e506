"""Transport policy: no unencrypted photos or tokens beyond loopback without --insecure."""

from pathlib import Path
from typing import Any

import pytest

from planespotter_server.auth.tokens import add_token
from planespotter_server.server import Server
from planespotter_server.settings import ServerError, Settings


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"host": "0.0.0.0"}, "The address 0.0.0.0 .* can read photos. Set --tls-cert and --tls-key, or --insecure"),
        ({"host": "::"}, "is reachable from other machines"),
        ({"host": "0.0.0.0", "tokens": True}, "can read photos and tokens"),
        ({"tls_cert": Path("x")}, "needs a certificate and its private key"),
        ({"tls_client_ca": Path("x")}, "Client certificates need TLS"),
    ],
)
async def test_unencrypted_server_beyond_loopback_does_not_start(
    settings: dict[str, Any], message: str, tokens: Path
) -> None:
    if "tokens" in settings:
        settings = {**settings, "tokens": tokens}
        add_token(tokens, "a")
    server = Server(Settings(port=0, **settings))
    with pytest.raises(ServerError, match=message):
        await server.start()
    await server.stop()


@pytest.mark.parametrize("settings", [{"host": "localhost"}, {"host": "::1"}, {"host": "0.0.0.0", "insecure": True}])
async def test_server_starts_on_loopback_or_with_insecure(settings: dict[str, Any]) -> None:
    server = Server(Settings(port=0, **settings))
    try:
        await server.start()
    except ServerError as error:
        if "Cannot assign requested address" not in str(error):  # a machine without IPv6
            raise
    finally:
        await server.stop()
