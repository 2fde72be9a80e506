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
from planespotter_client._errors import (
    BadRequestError,
    DeadlineError,
    MissingPackageError,
    NotAllowedError,
    NotFoundError,
    OverloadedError,
    PlaneSpotterError,
    ServerFailedError,
    UnavailableError,
    UnreadablePhotoError,
    WrongServerError,
)
from planespotter_client._image_inputs import Photo
from planespotter_client._sync_client import PlaneSpotter
from planespotter_client._types import (
    Alternative,
    Classification,
    HeatMap,
    Level,
    Limits,
    Metric,
    Model,
    PhotoAnswer,
    ScoredLabel,
    ServerInfo,
    Thresholds,
    frame,
)

__all__ = [
    "DEFAULT_ADDRESS",
    "Alternative",
    "AsyncPlaneSpotter",
    "BadRequestError",
    "Classification",
    "DeadlineError",
    "HeatMap",
    "Level",
    "Limits",
    "Metric",
    "MissingPackageError",
    "Model",
    "NotAllowedError",
    "NotFoundError",
    "OverloadedError",
    "Photo",
    "PhotoAnswer",
    "PlaneSpotter",
    "PlaneSpotterError",
    "ScoredLabel",
    "ServerFailedError",
    "ServerInfo",
    "Thresholds",
    "UnavailableError",
    "UnreadablePhotoError",
    "WrongServerError",
    "frame",
]
