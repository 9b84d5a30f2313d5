"""What the pages say of upstreams, tags and images, in words. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mirror.discovery.browse import Image, TagState
from mirror.pages import chart, words
from mirror.pages.few import Few, few
from mirror.pull.outcome import Outcome
from mirror.upstream.state import AccountState, EndpointState, Trouble, UpstreamState
from mirror.usage import FETCHED, SENT
from mirror.wiring.server import Server
from ocispec.descriptor import Descriptor
from ocispec.image_config import ImageConfig

# Answers that cost their upstream nothing but a question, if that.
_FROM_HERE = (Outcome.HIT, Outcome.STALE, Outcome.REVALIDATED, Outcome.JOINED)


@dataclass(frozen=True, slots=True)
class Day:
    """What was served in the last hours. `saved` are the bytes that clients got and that were not fetched for it."""

    pulls: int
    hit_ratio: float
    sent: int
    fetched: int

    @property
    def saved(self) -> int:
        return max(0, self.sent - self.fetched)


def day(hours: Mapping[int, Mapping[str, int]]) -> Day:
    """Of all these hours together."""

    def total(*whats: str) -> int:
        return sum(amounts.get(what, 0) for amounts in hours.values() for what in whats)

    pulls = total(*Outcome)
    return Day(pulls, total(*_FROM_HERE) / pulls if pulls else 0.0, total(SENT), total(FETCHED))


@dataclass(frozen=True, slots=True)
class Badge:
    name: str
    tone: str = ""
    detail: str = ""


def tag_state(state: TagState) -> Badge | None:
    match state.freshness:
        case "fresh" if state.fresh_for is None:
            return Badge("never asked again", "good", "its pattern says that it never moves")
        case "fresh":
            return Badge("fresh", "good", f"served without asking for {words.span(state.fresh_for or 0)} more")
        case "stale":
            return Badge("to be checked", "", "the next pull asks the upstream whether it has moved")
        case _:
            return None


@dataclass(frozen=True, slots=True)
class ShownEndpoint:
    host: str
    state: str
    tone: str


@dataclass(frozen=True, slots=True)
class ShownUpstream:
    host: str
    state: str
    tone: str
    endpoints: Sequence[ShownEndpoint]
    budgets: Sequence[str]
    waits: Sequence[str]
    under_way: int
    errors: Sequence[Trouble]


def upstream(state: UpstreamState, now: float) -> ShownUpstream:
    """Without the names of accounts: the page is for everybody."""
    silent = sum(endpoint.is_open for endpoint in state.endpoints)
    if state.is_offline:
        said, tone = "switched off", "warn"
    elif silent:
        said, tone = ("does not answer", "bad") if silent == len(state.endpoints) else ("partly silent", "warn")
    elif any(endpoint.is_known for endpoint in state.endpoints):
        said, tone = "answers", "good"
    else:
        said, tone = "not asked yet", ""
    accounts = [account for endpoint in state.endpoints for account in endpoint.accounts]
    return ShownUpstream(
        state.host,
        said,
        tone,
        [_endpoint(endpoint, now) for endpoint in state.endpoints],
        [line for account in accounts if (line := _budget(account))],
        [f"{kind} for {words.span(left)}" for account in accounts for kind, left in account.limited.items()],
        state.under_way,
        state.troubles,
    )


def _endpoint(endpoint: EndpointState, now: float) -> ShownEndpoint:
    host = endpoint.url.partition("://")[2].rstrip("/")
    if not endpoint.is_open:
        return ShownEndpoint(host, "answers", "good") if endpoint.is_known else ShownEndpoint(host, "not asked yet", "")
    since = f" for {words.span(now - endpoint.since)}" if endpoint.since is not None else ""
    reason = f": {endpoint.reason}" if endpoint.reason else ""
    return ShownEndpoint(host, f"silent{since}{reason}", "bad")


def _budget(account: AccountState) -> str:
    budget = account.budget
    if budget is None:
        return ""
    window = f" in {words.span(budget.window_seconds)}" if budget.window_seconds else ""
    scarce = ": kept for what is not here" if account.is_scarce else ""
    return f"{budget.remaining} of {budget.limit} pulls left{window}{scarce}"


def kind_of(image: Image) -> str:
    if image.manifest.is_index:
        return "image index"
    if image.config is not None and image.config.platform is not None:
        return f"image for {image.config.platform}"
    return image.manifest.artifact_type or "image"


def labels_of(image: Image) -> list[tuple[str, str]]:
    """Of the config and of the manifest; what both say once, as the manifest has it."""
    own = image.config.labels if image.config else {}
    return sorted({**own, **image.manifest.annotations}.items())


def drawing(layers: Sequence[Descriptor]) -> list[chart.Slice]:
    """The layers that the page shows, and the rest in one."""
    first = few(layers)
    sizes = [layer.size for layer in first.shown]
    labels = [f"{layer.size} bytes, {str(layer.digest)[:19]}" for layer in first.shown]
    if first.more:
        sizes.append(sum(layer.size for layer in layers) - sum(sizes))
        labels.append(f"{sizes[-1]} bytes in {first.more} more")
    return chart.layers(sizes, labels)


def config_facts(config: ImageConfig) -> list[tuple[str, str | Few[str]]]:
    facts: list[tuple[str, str | Sequence[str]]] = [
        ("Platform", str(config.platform or "")),
        ("Created", config.created),
        ("Author", config.author),
        ("User", config.user),
        ("Folder", config.working_dir),
        ("Entrypoint", config.entrypoint),
        ("Command", config.command),
        ("Ports", config.ports),
        ("Volumes", config.volumes),
        ("Environment", config.environment),
    ]
    return [(name, value if isinstance(value, str) else few(value)) for name, value in facts if value]


def commands(server: Server, name: str, reference: str) -> list[tuple[str, str]]:
    """How each client pulls it from here, without having been set up for it; the reference begins with its separator.

    Over plain HTTP podman pulls only what it is told to; docker and ctr do so by themselves on loopback. Docker has no
    option for anywhere else (`insecure-registries`, in a file).
    """
    image = f"{server.address}/{name}{reference}"
    podman = "--tls-verify=false " if server.plain_http else ""
    ctr = "--plain-http " if server.plain_http and not server.on_loopback else ""
    return [
        ("docker", f"docker pull {image}"),
        ("podman", f"podman pull {podman}{image}"),
        ("containerd", f"ctr images pull {ctr}{image}"),
    ]
