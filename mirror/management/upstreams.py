"""How the upstreams are doing, for whoever runs this server."""

from collections.abc import Mapping

from mirror.upstream.client import UpstreamClient
from mirror.upstream.state import UpstreamState


class Upstreams:
    """Looks at all of them. Nobody is asked."""

    def __init__(self, upstreams: Mapping[str, UpstreamClient]) -> None:
        self._upstreams = upstreams

    def states(self) -> list[UpstreamState]:
        """As they are now, in the order of the configuration."""
        return [upstream.state for upstream in self._upstreams.values()]
