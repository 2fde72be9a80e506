"""Errors on the wire: every refusal has its code, its reason and its figures; a bug says nothing of itself."""

import re
from pathlib import Path
from typing import get_args

import pytest
from google.rpc import code_pb2, error_details_pb2
from google.rpc.code_pb2 import Code

import planespotter_models
import planespotter_server
from planespotter.v1 import classifier_pb2 as pb
from planespotter_models import PhotoError, decode_photo
from planespotter_server.rejections import Reason, RequestRejected
from planespotter_server.rpc.status import CODES, to_status

PROTOS = Path(pb.__file__).parents[2]


def details(status: object) -> dict[str, object]:
    found = {}
    for packed in status.details:  # type: ignore[attr-defined]
        detail = getattr(error_details_pb2, packed.TypeName().rpartition(".")[2])()
        assert packed.Unpack(detail)
        found[type(detail).__name__] = detail
    return found


def test_every_reason_in_the_code_has_a_status_code() -> None:
    folders = [Path(planespotter_server.__file__).parent, Path(planespotter_models.__file__).parent]
    source = "".join(path.read_text() for folder in folders for path in folder.rglob("*.py"))
    reasons = set(re.findall(r'(?:RequestRejected|PhotoError)\(\s*"([A-Z_]+)"', source))
    assert reasons == set(CODES)


def test_the_enum_of_the_contract_and_the_rejections_have_the_same_reasons() -> None:
    names = [name.removeprefix("ERROR_REASON_") for name, _ in pb.ErrorReason.items()]
    assert names == ["UNSPECIFIED", *get_args(Reason)]
    assert set(CODES) == set(get_args(Reason))


def test_the_contract_states_the_code_of_each_reason() -> None:
    proto = (PROTOS / "planespotter" / "v1" / "classifier.proto").read_text(encoding="utf-8")
    comment = r"// ([A-Z_]+): [^\n]+\n(?:  // [^\n]+\n)*  ERROR_REASON_(\w+) ="
    stated = {reason: code for code, reason in re.findall(comment, proto)}
    assert stated == {reason: Code.Name(code) for reason, code in CODES.items()}


def test_a_photo_id_that_is_too_long_names_the_photo_of_the_batch() -> None:
    rejection = RequestRejected("PHOTO_ID_TOO_LONG", "Too long.", field="photo.id")
    found = details(to_status(rejection, "photos[3]"))
    assert found["BadRequest"].field_violations[0].field == "photos[3].id"  # type: ignore[attr-defined]


def test_a_bad_photo_names_its_field_and_figures() -> None:
    with pytest.raises(PhotoError) as caught:
        decode_photo(b"", 32, 48)
    status = to_status(caught.value, "photos[3]")
    found = details(status)
    assert status.code == code_pb2.INVALID_ARGUMENT
    assert found["ErrorInfo"].reason == "PHOTO_EMPTY"  # type: ignore[attr-defined]
    assert found["ErrorInfo"].domain == "planespotter.v1"  # type: ignore[attr-defined]
    assert found["BadRequest"].field_violations[0].field == "photos[3].content"  # type: ignore[attr-defined]


def test_what_can_be_tried_again_says_when() -> None:
    found = details(to_status(RequestRejected("QUEUE_FULL", "Full.", retry_after=1.5)))
    assert found["RetryInfo"].retry_delay.ToMilliseconds() == 1500  # type: ignore[attr-defined]


def test_a_bug_says_nothing_of_itself() -> None:
    status = to_status(RuntimeError("/etc/secret"))
    assert status.code == code_pb2.INTERNAL
    assert "secret" not in str(status)
    assert details(status)["ErrorInfo"].metadata["request_id"] in status.message  # type: ignore[attr-defined]
