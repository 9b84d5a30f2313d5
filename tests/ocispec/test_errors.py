import json
import re
from http import HTTPStatus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocispec import errors
from ocispec.errors import RangeNotSatisfiable, RegistryError
from tests.ocispec.samples import json_values, law

ALL = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, RegistryError)]

# The whole table, so that a change of what clients see is a change here as well.
EXPECTED = {
    "RegistryError": ("UNKNOWN", 500),
    "BlobUnknown": ("BLOB_UNKNOWN", 404),
    "BlobUploadInvalid": ("BLOB_UPLOAD_INVALID", 400),
    "ChunkOutOfOrder": ("BLOB_UPLOAD_INVALID", 416),
    "BlobUploadUnknown": ("BLOB_UPLOAD_UNKNOWN", 404),
    "DigestInvalid": ("DIGEST_INVALID", 400),
    "ManifestBlobUnknown": ("MANIFEST_BLOB_UNKNOWN", 404),
    "ManifestInvalid": ("MANIFEST_INVALID", 400),
    "ManifestTooLarge": ("MANIFEST_INVALID", 413),
    "ManifestUnknown": ("MANIFEST_UNKNOWN", 404),
    "NameInvalid": ("NAME_INVALID", 400),
    "NameUnknown": ("NAME_UNKNOWN", 404),
    "TagInvalid": ("TAG_INVALID", 400),
    "PageInvalid": ("PAGINATION_NUMBER_INVALID", 400),
    "SizeInvalid": ("SIZE_INVALID", 400),
    "RangeNotSatisfiable": ("RANGE_INVALID", 416),
    "Unauthorized": ("UNAUTHORIZED", 401),
    "Denied": ("DENIED", 403),
    "Unsupported": ("UNSUPPORTED", 405),
    "ContentEncodingUnsupported": ("UNSUPPORTED", 415),
    "PathUnknown": ("NOT_FOUND", 404),
    "RequestInvalid": ("BAD_REQUEST", 400),
    "TooManyRequests": ("TOOMANYREQUESTS", 429),
    "Unavailable": ("UNAVAILABLE", 503),
    "UpstreamFailed": ("UPSTREAM_FAILED", 502),
    "UpstreamTimedOut": ("UPSTREAM_TIMEOUT", 504),
    "StorageFull": ("STORAGE_FULL", 507),
}

every_error = pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)


def test_error__codes_and_statuses_are_the_agreed_ones() -> None:
    assert {kind.__name__: (kind.code, kind.status) for kind in ALL} == EXPECTED


def test_error__the_codes_of_the_specification_are_all_there() -> None:
    specified = {
        *("BLOB_UNKNOWN", "BLOB_UPLOAD_INVALID", "BLOB_UPLOAD_UNKNOWN", "DIGEST_INVALID", "MANIFEST_BLOB_UNKNOWN"),
        *("MANIFEST_INVALID", "MANIFEST_UNKNOWN", "NAME_INVALID", "NAME_UNKNOWN", "SIZE_INVALID", "UNAUTHORIZED"),
        *("DENIED", "UNSUPPORTED", "TOOMANYREQUESTS"),
    }
    assert specified <= {kind.code for kind in ALL}


@every_error
def test_error__its_code_is_in_capitals_and_underscores(kind: type[RegistryError]) -> None:
    assert re.fullmatch(r"[A-Z]+(_[A-Z]+)*", kind.code)


@every_error
def test_error__its_status_is_a_registered_one_of_failure(kind: type[RegistryError]) -> None:
    assert 400 <= HTTPStatus(kind.status) < 600


@every_error
def test_error__its_envelope_is_what_the_specification_draws(kind: type[RegistryError]) -> None:
    assert json.loads(kind().envelope()) == {"errors": [{"code": kind.code, "message": kind.message}]}
    assert kind.message
    assert kind.message == str(kind())


@every_error
def test_error__message_and_detail_are_in_the_envelope(kind: type[RegistryError]) -> None:
    (error,) = json.loads(kind("that one", detail={"a": [1, None]}).envelope())["errors"]
    assert error == {"code": kind.code, "message": "that one", "detail": {"a": [1, None]}}


@every_error
def test_error__neither_headers_nor_cause_are_in_the_envelope(kind: type[RegistryError]) -> None:
    error = kind("that one", headers={"WWW-Authenticate": "verysecret"})
    error.__cause__ = OSError("/srv/secret/path")
    error.add_note("a secret note")
    assert b"secret" not in error.envelope()
    assert "secret" not in str(error)
    assert set(json.loads(error.envelope())["errors"][0]) == {"code", "message"}


@every_error
def test_error__its_own_message_gives_nothing_away(kind: type[RegistryError]) -> None:
    assert not re.search(
        r"(?i)password|secret|bearer|basic|traceback|sqlite|/(srv|var|home|etc|tmp)/|0x[0-9a-f]+|\.py", kind.message
    )
    assert kind.message.isascii()
    assert kind.message.isprintable()
    assert len(kind.message) < 100


@every_error
def test_error__without_headers_none_are_sent(kind: type[RegistryError]) -> None:
    assert kind().headers == {}


def test_error__its_headers_are_its_own() -> None:
    given_headers = {"Content-Range": "bytes */5"}
    error = RangeNotSatisfiable(headers=given_headers)
    given_headers["X-Later"] = "x"
    assert error.headers == {"Content-Range": "bytes */5"}
    assert RangeNotSatisfiable().headers is not RangeNotSatisfiable().headers


@pytest.mark.parametrize("detail", [0, "", [], {}, False])
def test_error__a_detail_that_is_false_is_still_a_detail(detail: object) -> None:
    assert json.loads(RegistryError(detail=detail).envelope())["errors"][0]["detail"] == detail


def test_error__an_empty_message_is_the_usual_one() -> None:
    assert str(RegistryError("")) == RegistryError.message


@law
@given(st.text(st.characters(codec=None), min_size=1), st.sampled_from(ALL), st.text(st.characters(codec=None)))
def test_error__any_text_is_carried_as_plain_ascii(message: str, kind: type[RegistryError], detail: str) -> None:
    envelope = kind(message, detail={"name": detail}).envelope()
    assert envelope.isascii()
    assert all(byte >= 0x20 for byte in envelope)
    # Halves of a pair that stand side by side are one character once they were JSON.
    whole = [text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass") for text in (message, detail)]
    assert json.loads(envelope) == {"errors": [{"code": kind.code, "message": whole[0], "detail": {"name": whole[1]}}]}


@law
@given(json_values)
def test_error__any_json_is_a_detail(detail: object) -> None:
    (error,) = json.loads(RegistryError(detail=detail).envelope())["errors"]
    assert ("detail" in error) == (detail is not None)
