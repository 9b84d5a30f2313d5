"""The paths of the API, built from the same words that the routes are made of (distribution-spec, "Endpoints")."""

from urllib.parse import quote

from ocispec.digest import Digest
from ocispec.names import Reference


def manifest(repository: str, reference: Reference) -> str:
    """end-3, end-7, end-9"""
    return f"/v2/{repository}/manifests/{reference}"


def blob(repository: str, digest: Digest) -> str:
    """end-2, end-10"""
    return f"/v2/{repository}/blobs/{digest}"


def upload(repository: str, session_id: str) -> str:
    """end-5, end-6, end-13, end-14"""
    return f"/v2/{repository}/blobs/uploads/{session_id}"


def tags(repository: str) -> str:
    """end-8"""
    return f"/v2/{repository}/tags/list"


def referrers(repository: str, digest: Digest, artifact_type: str | None = None, last: Digest | None = None) -> str:
    """end-12"""
    query = [f"artifactType={quote(artifact_type, safe='')}"] if artifact_type else []
    query += [f"last={last}"] if last else []
    return f"/v2/{repository}/referrers/{digest}{'?' if query else ''}{'&'.join(query)}"


def catalog() -> str:
    return "/v2/_catalog"
