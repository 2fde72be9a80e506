"""Client of planespotter: classify the aircraft in photos with a planespotter server.

    from planespotter_client import PlaneSpotter

    with PlaneSpotter("127.0.0.1:50051") as spotter:
        print(spotter.classify("photo.jpg"))  # Boeing 737 (91 %)

PlaneSpotter is the synchronous client, AsyncPlaneSpotter the one for asyncio. Every error derives from
PlaneSpotterError.
"""

import os

# gRPC reads it on import. Its lines on stderr only repeat what exceptions report. In a server they would not be
# structured, any client could cause them, and they would block it if nobody reads the log.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

from planespotter_client._addresses import DEFAULT_ADDRESS
from planespotter_client._async_client import AsyncPlaneSpotter
from planespotter_client._dataframe import to_dataframe
from planespotter_client._errors import (
    AuthenticationError,
    CertificateError,
    DeadlineExceededError,
    InternalServerError,
    InvalidRequestError,
    MissingDependencyError,
    NotFoundError,
    OverloadedError,
    PhotoReadError,
    PlaneSpotterError,
    ProtocolError,
    UnavailableError,
)
from planespotter_client._image_inputs import Photo
from planespotter_client._prior import Prior
from planespotter_client._sync_client import PlaneSpotter
from planespotter_client._types import (
    Candidate,
    DecodeRule,
    HeatMap,
    Level,
    Limits,
    Metric,
    Model,
    PathNode,
    PhotoResult,
    Prediction,
    ServerInfo,
    Thresholds,
)

__all__ = [  # noqa: RUF022  (a table of contents)
    # Clients
    "PlaneSpotter",
    "AsyncPlaneSpotter",
    "DEFAULT_ADDRESS",
    "Photo",
    "Prior",
    # Results
    "Prediction",
    "PathNode",
    "Level",
    "Candidate",
    "HeatMap",
    "PhotoResult",
    "to_dataframe",
    # Models and servers
    "Model",
    "Metric",
    "Thresholds",
    "DecodeRule",
    "ServerInfo",
    "Limits",
    # Errors
    "PlaneSpotterError",
    "PhotoReadError",
    "InvalidRequestError",
    "NotFoundError",
    "AuthenticationError",
    "OverloadedError",
    "UnavailableError",
    "DeadlineExceededError",
    "MissingDependencyError",
    "CertificateError",
    "ProtocolError",
    "InternalServerError",
]
