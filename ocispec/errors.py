"""What a client can be told: one class per error code of the distribution specification.

The status is a property of the error, never a choice of a handler, so the two cannot disagree. Codes and statuses
follow OCI Distribution 1.1 ("Error Codes" and the endpoint table); where the table leaves a choice, the comment says
which one we took. This module makes the JSON envelope; nothing else does.
"""

import json
from collections.abc import Mapping
from typing import ClassVar


class RegistryError(Exception):
    """An answer in the protocol's own error format. `headers` go out with it; `detail` must be JSON."""

    code: ClassVar[str] = "UNKNOWN"
    status: ClassVar[int] = 500
    message: ClassVar[str] = "internal error"

    def __init__(
        self, message: str | None = None, *, detail: object = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message or self.message)
        self.detail = detail
        self.headers = dict(headers or {})

    def envelope(self) -> bytes:
        """The JSON body: `{"errors": [{code, message, detail?}]}`."""
        error: dict[str, object] = {"code": self.code, "message": str(self)}
        if self.detail is not None:
            error["detail"] = self.detail
        return json.dumps({"errors": [error]}, ensure_ascii=True).encode()


class BlobUnknown(RegistryError):
    code, status, message = "BLOB_UNKNOWN", 404, "blob unknown to registry"


class BlobUploadInvalid(RegistryError):
    # The specification names 416 only for chunks out of order (ChunkOutOfOrder); any other bad upload is 400.
    code, status, message = "BLOB_UPLOAD_INVALID", 400, "blob upload invalid"


class ChunkOutOfOrder(RegistryError):
    """A chunk that does not start where the session ends; `headers` must carry the real `Range` and `Location`."""

    code, status, message = "BLOB_UPLOAD_INVALID", 416, "the chunk does not start where the upload ends"


class BlobUploadUnknown(RegistryError):
    code, status, message = "BLOB_UPLOAD_UNKNOWN", 404, "blob upload unknown to registry"


class DigestInvalid(RegistryError):
    code, status, message = "DIGEST_INVALID", 400, "provided digest did not match uploaded content"


class ManifestBlobUnknown(RegistryError):
    # The endpoint table has 404 for a manifest that refers to unknown content (end-7); Distribution answers 400.
    code, status, message = "MANIFEST_BLOB_UNKNOWN", 404, "manifest references a manifest or blob unknown to registry"


class ManifestInvalid(RegistryError):
    code, status, message = "MANIFEST_INVALID", 400, "manifest invalid"


class ManifestTooLarge(RegistryError):
    code, status, message = "MANIFEST_INVALID", 413, "the manifest is larger than 4 MiB"


class ManifestUnknown(RegistryError):
    code, status, message = "MANIFEST_UNKNOWN", 404, "manifest unknown to registry"


class NameInvalid(RegistryError):
    code, status, message = "NAME_INVALID", 400, "invalid repository name"


class NameUnknown(RegistryError):
    code, status, message = "NAME_UNKNOWN", 404, "repository name not known to registry"


class TagInvalid(RegistryError):
    # Not in the OCI table; Docker's Registry v2 has it, and clients print the message whatever the code.
    code, status, message = "TAG_INVALID", 400, "invalid tag"


class PageInvalid(RegistryError):
    code, status, message = "PAGINATION_NUMBER_INVALID", 400, "invalid number of results requested"


class SizeInvalid(RegistryError):
    code, status, message = "SIZE_INVALID", 400, "provided length did not match content length"


class RangeNotSatisfiable(RegistryError):
    """A Range past the end of a blob; `headers` must carry `Content-Range: bytes */size` (RFC 9110, 14.4)."""

    code, status, message = "RANGE_INVALID", 416, "the requested range lies outside the blob"


class Unauthorized(RegistryError):
    code, status, message = "UNAUTHORIZED", 401, "authentication required"


class Denied(RegistryError):
    code, status, message = "DENIED", 403, "requested access to the resource is denied"


class Unsupported(RegistryError):
    # 405: docker stops at once and shows our message; a 403 makes it retry for 50 seconds.
    code, status, message = "UNSUPPORTED", 405, "the operation is unsupported"


class ContentEncodingUnsupported(RegistryError):
    code, status, message = "UNSUPPORTED", 415, "content encodings are not supported; send the bytes as they are"


class PathUnknown(RegistryError):
    code, status, message = "NOT_FOUND", 404, "no such endpoint; see GET /v2/"


class RequestInvalid(RegistryError):
    code, status, message = "BAD_REQUEST", 400, "the request cannot be understood"


class TooManyRequests(RegistryError):
    code, status, message = "TOOMANYREQUESTS", 429, "too many requests"


class Unavailable(RegistryError):
    code, status, message = "UNAVAILABLE", 503, "the registry cannot do this right now"


class UpstreamFailed(RegistryError):
    code, status, message = "UPSTREAM_FAILED", 502, "the upstream registry did not answer properly"


class UpstreamTimedOut(RegistryError):
    code, status, message = "UPSTREAM_TIMEOUT", 504, "the upstream registry did not answer in time"


class StorageFull(RegistryError):
    code, status, message = "STORAGE_FULL", 507, "the registry has no space left to store this"
