"""Status mapping: code, reason, metadata and details of every rejection; no details of a bug."""

import re
from pathlib import Path
from typing import get_args

import pytest
from google.rpc import code_pb2, error_details_pb2
from google.rpc.code_pb2 import Code

import planespotter_photos
import planespotter_server
from planespotter.v1 import classifier_pb2 as pb
from planespotter_models import PhotoError, decode_photo
from planespotter_server.rejections import Reason, RequestRejected
from planespotter_server.rpc.status import CODES, to_status

PROTOS = Path(pb.__file__).parents[2]


def details(status: object) -> dict[str, object]:
    unpacked = {}
    for packed in status.details:  # type: ignore[attr-defined]
        detail = getattr(error_details_pb2, packed.TypeName().rpartition(".")[2])()
        assert packed.Unpack(detail)
        unpacked[type(detail).__name__] = detail
    return unpacked


def test_every_reason_in_the_code_has_a_status_code() -> None:
    folders = [Path(folder) for package in (planespotter_server, planespotter_photos) for folder in package.__path__]
    source = "".join(path.read_text() for folder in folders for path in folder.rglob("*.py"))
    reasons = set(re.findall(r'(?:RequestRejected|PhotoError)\(\s*"([A-Z_]+)"', source))
    assert reasons == set(CODES)


def test_error_reason_enum_and_rejections_agree() -> None:
    names = [name.removeprefix("ERROR_REASON_") for name, _ in pb.ErrorReason.items()]
    assert names == ["UNSPECIFIED", *get_args(Reason)]
    assert set(CODES) == set(get_args(Reason))


def test_contract_states_the_code_of_each_reason() -> None:
    proto = (PROTOS / "planespotter" / "v1" / "classifier.proto").read_text(encoding="utf-8")
    comment = r"// ([A-Z_]+): [^\n]+\n(?:  // [^\n]+\n)*  ERROR_REASON_(\w+) ="
    stated = {reason: code for code, reason in re.findall(comment, proto)}
    assert stated == {reason: Code.Name(code) for reason, code in CODES.items()}


def test_overlong_photo_id_names_its_photo_in_the_batch() -> None:
    rejection = RequestRejected("PHOTO_ID_TOO_LONG", "Too long.", field="photo.id")
    unpacked = details(to_status(rejection, "photos[3]"))
    assert unpacked["BadRequest"].field_violations[0].field == "photos[3].id"  # type: ignore[attr-defined]


def test_invalid_photo_has_a_field_violation() -> None:
    with pytest.raises(PhotoError) as caught:
        decode_photo(b"", 32, 48)
    status = to_status(caught.value, "photos[3]")
    unpacked = details(status)
    assert status.code == code_pb2.INVALID_ARGUMENT
    assert unpacked["ErrorInfo"].reason == "PHOTO_EMPTY"  # type: ignore[attr-defined]
    assert unpacked["ErrorInfo"].domain == "planespotter.v1"  # type: ignore[attr-defined]
    assert unpacked["BadRequest"].field_violations[0].field == "photos[3].content"  # type: ignore[attr-defined]


def test_retryable_rejection_has_a_retry_delay() -> None:
    unpacked = details(to_status(RequestRejected("QUEUE_FULL", "Full.", retry_after=1.5)))
    assert unpacked["RetryInfo"].retry_delay.ToMilliseconds() == 1500  # type: ignore[attr-defined]


def test_bug_is_reported_without_its_text() -> None:
    status = to_status(RuntimeError("/etc/secret"))
    assert status.code == code_pb2.INTERNAL
    assert "secret" not in str(status)
    assert details(status)["ErrorInfo"].metadata["request_id"] in status.message  # type: ignore[attr-defined]
