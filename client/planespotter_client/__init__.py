"""Name the aircraft in photos with a planespotter server.

    from planespotter_client import PlaneSpotter

    with PlaneSpotter("127.0.0.1:50051") as spotter:
        print(spotter.classify("photo.jpg"))  # Boeing 737-800 (94 %)

PlaneSpotter is the client, AsyncPlaneSpotter its twin for asyncio; PlaneSpotterError is what can go wrong.
"""

import os

# gRPC reads it as it is imported; without it, each failed handshake is lines on stderr in gRPC's own words.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")

from planespotter_client._async_client import AsyncPlaneSpotter
from planespotter_client._channels import DEFAULT_ADDRESS
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
from planespotter_client._sync_client import PlaneSpotter
from planespotter_client._types import (
    Candidate,
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

__all__ = [
    "DEFAULT_ADDRESS",
    "AsyncPlaneSpotter",
    "AuthenticationError",
    "Candidate",
    "CertificateError",
    "DeadlineExceededError",
    "HeatMap",
    "InternalServerError",
    "InvalidRequestError",
    "Level",
    "Limits",
    "Metric",
    "MissingDependencyError",
    "Model",
    "NotFoundError",
    "OverloadedError",
    "PathNode",
    "Photo",
    "PhotoReadError",
    "PhotoResult",
    "PlaneSpotter",
    "PlaneSpotterError",
    "Prediction",
    "ProtocolError",
    "ServerInfo",
    "Thresholds",
    "UnavailableError",
    "to_dataframe",
]
