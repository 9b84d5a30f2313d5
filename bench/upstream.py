"""What the upstream was asked for, from its access log."""

from collections import Counter
from dataclasses import dataclass

from bench.content import Content
from bench.peers import Origin


@dataclass(frozen=True)
class Traffic:
    requests: int
    downloads_per_object: int  # of the object that was downloaded most often
    body_bytes: int


class Watch:
    """Everything the upstream answered since the watch began."""

    def __init__(self, origin: Origin, content: Content) -> None:
        self._log = origin.access_log
        self._tags = content.tags
        self._start = self._log.stat().st_size

    def traffic(self) -> Traffic:
        with self._log.open() as log:
            log.seek(self._start)
            lines = [line.split() for line in log]
        downloads = Counter(self._object(uri) for method, uri, status, _ in lines if _is_download(method, uri, status))
        return Traffic(len(lines), max(downloads.values(), default=0), sum(int(sent) for *_, sent in lines))

    def _object(self, uri: str) -> str:
        """The digest behind a blob or manifest address, by tag or not."""
        reference = uri.rpartition("/")[2]
        return self._tags.get(reference, reference)


def _is_download(method: str, uri: str, status: str) -> bool:
    """Of an object, and not a token or the greeting of `/v2/`."""
    is_object = "/blobs/" in uri or "/manifests/" in uri
    return method == "GET" and is_object and status in ("200", "206")
