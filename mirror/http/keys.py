"""What the handlers are given: every use case in one typed place, and the request's own notes."""

from dataclasses import dataclass

from aiohttp import web
from prometheus_client import CollectorRegistry

from mirror.discovery.lists import Lists
from mirror.discovery.search import Search
from mirror.http.drain import Drain
from mirror.management.delete import Deletions
from mirror.pull.blob import BlobPulls
from mirror.pull.manifest import ManifestPulls
from mirror.pull.outcome import Outcome
from mirror.pull.prefetch import Prefetch
from mirror.push.manifest import ManifestPushes
from mirror.push.upload import Uploads
from mirror.routing import Names
from mirror.usage import Usage
from storage.store import Store


@dataclass(frozen=True, slots=True)
class Services:
    """The use cases. `external_url` is what absolute locations begin with, '' for relative ones."""

    external_url: str
    names: Names
    store: Store
    manifest_pulls: ManifestPulls
    blob_pulls: BlobPulls
    prefetch: Prefetch
    manifest_pushes: ManifestPushes
    uploads: Uploads
    lists: Lists
    search: Search
    usage: Usage
    deletions: Deletions


SERVICES = web.AppKey("services", Services)
DRAIN = web.AppKey("drain", Drain)
# What /metrics shows.
METRICS = web.AppKey("metrics", CollectorRegistry)


@dataclass(slots=True)
class Notes:
    """What is noted of a request for its answer, and for the access log."""

    cache: Outcome | None = None
    sent: int | None = None  # bytes of the body, where they left by sendfile
    namespace: str | None = None  # the upstream that it named by `ns`
    cut: str | None = None  # why the answer was cut off

    def count(self, sent: int) -> None:
        self.sent = (self.sent or 0) + sent


NOTES = web.RequestKey("notes", Notes)
