"""`/metrics` for Prometheus: read from the state of things when it is asked for, so that nothing is counted twice.

Labels are bounded by the configuration: hosts, endpoints and kinds. An account is a number, the place that it has
there: anybody who reaches the port can read this.
"""

from collections.abc import Callable, Iterator

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from mirror.http.keys import METRICS
from mirror.management.upstreams import Upstreams
from mirror.upstream.limits import Kind
from mirror.upstream.state import AccountState, UpstreamState


async def metrics(request: web.Request) -> web.StreamResponse:
    encode, content_type = _encoder(request.headers.get("Accept", ""))
    return web.Response(body=encode(request.app[METRICS]), headers={"Content-Type": content_type})


def _encoder(accept: str) -> tuple[Callable[[CollectorRegistry], bytes], str]:
    """The plain format for whoever asks for a version that is none: the library compares it all the same."""
    try:
        return choose_encoder(accept)
    except (TypeError, ValueError):
        return choose_encoder("")


def registry_of(*collectors: Collector) -> CollectorRegistry:
    """What `/metrics` shows."""
    registry = CollectorRegistry()
    for collector in collectors:
        registry.register(collector)
    return registry


class UpstreamCollector(Collector):
    """The families about upstreams."""

    def __init__(self, upstreams: Upstreams) -> None:
        self._upstreams = upstreams

    def describe(self) -> list[Metric]:
        return []  # asked once at registration, instead of a collection for nothing

    def collect(self) -> Iterator[Metric]:
        states = self._upstreams.states()
        yield from _traffic(states)
        yield _breakers(states)
        yield from _accounts(states)


def _traffic(states: list[UpstreamState]) -> Iterator[Metric]:
    under_way = GaugeMetricFamily(
        "mirror_upstream_requests_under_way", "Requests that hold a slot.", labels=["upstream"]
    )
    waiting = GaugeMetricFamily(
        "mirror_upstream_requests_waiting", "Requests that have no slot yet.", labels=["upstream"]
    )
    received = CounterMetricFamily(
        "mirror_upstream_received_bytes", "Bytes of bodies that were received.", labels=["upstream"]
    )
    requests = CounterMetricFamily(
        "mirror_upstream_requests", "Requests by how they ended.", labels=["upstream", "kind", "outcome"]
    )
    for state in states:
        under_way.add_metric([state.host], state.under_way)
        waiting.add_metric([state.host], state.waiting)
        received.add_metric([state.host], state.received)
        for (kind, ending), count in sorted(state.requests.items()):
            requests.add_metric([state.host, kind, ending], count)
    yield from (under_way, waiting, received, requests)


def _breakers(states: list[UpstreamState]) -> Metric:
    family = GaugeMetricFamily(
        "mirror_upstream_breaker_open",
        "1 while an endpoint does not answer, and so is not asked.",
        labels=["upstream", "endpoint"],
    )
    for state in states:
        for endpoint in state.endpoints:
            family.add_metric([state.host, endpoint.url], int(endpoint.is_open))
    return family


def _accounts(states: list[UpstreamState]) -> Iterator[Metric]:
    labels = ["upstream", "endpoint", "account"]
    remaining = GaugeMetricFamily("mirror_upstream_budget_remaining", "Pulls that are left, as it says.", labels=labels)
    limit = GaugeMetricFamily(
        "mirror_upstream_budget_limit", "Pulls that it grants in a window of time.", labels=labels
    )
    scarce = GaugeMetricFamily(
        "mirror_upstream_budget_scarce", "1 while what is left is kept for what is not here.", labels=labels
    )
    limited = GaugeMetricFamily(
        "mirror_upstream_limited_seconds", "How long a kind of request may not be sent.", labels=[*labels, "kind"]
    )
    for values, account in _each_account(states):
        if account.budget is not None:
            remaining.add_metric(values, account.budget.remaining)
            limit.add_metric(values, account.budget.limit)
        scarce.add_metric(values, int(account.is_scarce))
        for kind in Kind:
            limited.add_metric([*values, kind], account.limited.get(kind, 0.0))
    yield from (remaining, limit, scarce, limited)


def _each_account(states: list[UpstreamState]) -> Iterator[tuple[list[str], AccountState]]:
    """With the values of its labels."""
    for state in states:
        for endpoint in state.endpoints:
            for number, account in enumerate(endpoint.accounts, 1):
                yield [state.host, endpoint.url, str(number)], account
