"""The rows of the table: what each does, under which load, from which state of the caches, and what is promised."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

from bench.configs import DISTANT_BYTES_PER_SECOND, DISTANT_SECONDS, LIMITED_BYTES_PER_SECOND
from bench.content import GIB, MIB, Blob, Image
from bench.load import Figures, drive, hammer
from bench.measure import measured
from bench.peers import DISTRIBUTION, MIRROR, NGINX, REGISTRY, Server, Way
from bench.results import Bar, Kind, Sample
from bench.stage import CROWD, CROWD_BLOB, REPOSITORY, Stage, verify
from bench.upstream import Watch

Case = Callable[[int], Sample]
Prepare = Callable[[Stage, str, ExitStack], Case]

_WARM_CLIENTS = 4  # who shares a core with whom is luck: each client draws anew
_WARM_DOWNLOADS = 3
_WRK_CONNECTIONS = 4
_HERD = 50
_SMALL_BLOBS = 300
_SMALL_SIZE = 1024
_TASTE = 32 * MIB
_MEMORY_ROUNDS = 3
_CHECKED = 10


@dataclass(frozen=True)
class Metric:
    key: str
    title: str
    unit: str


@dataclass(frozen=True)
class Row:
    key: str
    number: str
    title: str
    load: str
    state: str
    peers: dict[str, str]  # who takes part, and as what
    metrics: tuple[Metric, ...]  # the first one is the headline; there, less is better
    bars: tuple[Bar, ...]
    prepare: Prepare
    most_rounds: int | None = None

    def rounds_of(self, rounds: int) -> int:
        return min(rounds, self.most_rounds or rounds)

    def metric(self, key: str) -> Metric:
        return next(metric for metric in self.metrics if metric.key == key)


def _warm_blob(stage: Stage, peer: str, stack: ExitStack) -> Case:
    blobs = stage.content.blobs
    server = stage.warm(peer, stack, blobs)
    gib = _WARM_CLIENTS * _WARM_DOWNLOADS * stage.content.sizes.blob / GIB

    def sample(number: int) -> Sample:
        blob = blobs[number]
        verify(server, (blob,))
        figures, usage = measured(partial(_pull_in_turn, server, blob), server.pid)
        return {"cpu": usage.cpu / gib, "rate": gib / figures["wall"], "peak": usage.peak}

    return sample


def _warm_manifest(stage: Stage, peer: str, stack: ExitStack, by_digest: bool) -> Case:
    image = stage.content.images[0]
    server = stage.warm(peer, stack, image.blobs, image)
    url = f"{server.url}/v2/{REPOSITORY}/manifests/{image.manifest.digest if by_digest else image.tag}"
    hit = partial(hammer, url, stage.wrk_seconds, _WRK_CONNECTIONS, stage.folder)
    hit()

    def sample(_: int) -> Sample:
        figures, usage = measured(hit, server.pid)
        rate = figures["requests"] / figures["seconds"]
        return {"cpu": usage.cpu / figures["requests"], "rate": rate, "p99": figures["p99"], "peak": usage.peak}

    return sample


def _cold_blob(stage: Stage, peer: str, stack: ExitStack, limited: bool) -> Case:
    server = stage.proxy(peer, stack, Way.LIMITED if limited else Way.NEAR)

    def sample(number: int) -> Sample:
        blob = stage.content.blobs[number]
        return _cold(stage, server, (blob,), partial(_pull, server, blob, 1))

    return sample


def _blob_herd(stage: Stage, peer: str, stack: ExitStack) -> Case:
    server = stage.proxy(peer, stack, Way.NEAR)

    def sample(number: int) -> Sample:
        blob = stage.content.blobs[number]
        return _cold(stage, server, (blob,), partial(_herd, server, blob))

    return sample


def _image_herd(stage: Stage, peer: str, stack: ExitStack) -> Case:
    server = stage.proxy(peer, stack, Way.NEAR)

    def sample(number: int) -> Sample:
        image = stage.content.images[number]
        return _cold(stage, server, image.blobs, partial(_crowd, server, image))

    return sample


def _distant_image(stage: Stage, peer: str, stack: ExitStack) -> Case:
    server = stage.proxy(peer, stack, Way.DISTANT)

    def sample(number: int) -> Sample:
        image = stage.content.images[number]
        return _cold(stage, server, image.blobs, partial(_one_by_one, server, image))

    return sample


def _push(stage: Stage, peer: str, stack: ExitStack) -> Case:
    server = stage.registry(peer, stack)

    def sample(number: int) -> Sample:
        blob = stage.content.blobs[number]
        blob.warm()
        work = partial(drive, "push", server.port, repository=REPOSITORY, path=str(blob.path), digest=blob.digest)
        figures, usage = measured(work, server.pid)
        verify(server, (blob,))
        return {"wall": figures["wall"], "cpu": usage.cpu, "peak": usage.peak}

    return sample


def _push_small(stage: Stage, peer: str, stack: ExitStack) -> Case:
    server = stage.registry(peer, stack)
    work = partial(drive, "push_small", server.port, repository=REPOSITORY, size=_SMALL_SIZE, count=_SMALL_BLOBS)

    def sample(_: int) -> Sample:
        figures, usage = measured(work, server.pid)
        wall = figures["wall"] / _SMALL_BLOBS
        return {"wall": wall, "rate": 1 / wall, "cpu": usage.cpu / _SMALL_BLOBS, "peak": usage.peak}

    return sample


def _warm_crowd(stage: Stage, peer: str, stack: ExitStack) -> Case:
    blob = stage.large_blob
    server = stage.warm(peer, stack, (blob,))
    work = partial(_taste, server, (blob,) * CROWD)

    def sample(_: int) -> Sample:
        figures, usage = measured(work, server.pid)
        return {**figures, "cpu": usage.cpu, "peak": usage.peak}

    return sample


def _push_crowd(stage: Stage, peer: str, _: ExitStack) -> Case:
    """Each round has a server of its own: what the crowd leaves would soon fill the disk."""

    def sample(_: int) -> Sample:
        with ExitStack() as stack:
            server = stage.registry(peer, stack)
            work = partial(drive, "push_crowd", server.port, repository=REPOSITORY, size=CROWD_BLOB, clients=CROWD)
            figures, usage = measured(work, server.pid)
            return {**figures, "cpu": usage.cpu, "peak": usage.peak}

    return sample


def _cold_crowd(stage: Stage, peer: str, _: ExitStack) -> Case:
    """Each round has a server of its own, to which the same blobs are new."""
    blobs = stage.crowd

    def sample(_: int) -> Sample:
        with ExitStack() as stack:
            server = stage.proxy(peer, stack, Way.NEAR)
            return _cold(stage, server, blobs, partial(_taste, server, blobs), checked=_CHECKED)

    return sample


def _cold(
    stage: Stage, server: Server, blobs: tuple[Blob, ...], work: Callable[[], Figures], checked: int | None = None
) -> Sample:
    """A pull of what the server does not have yet, with an eye on the upstream; the first so many are `checked`."""
    for blob in blobs:
        blob.warm()
    watch = Watch(stage.origin, stage.content)
    figures, usage = measured(work, server.pid, (stage.origin.pid,))
    traffic = watch.traffic()
    verify(server, blobs[:checked])
    return {
        **figures,
        "cpu": usage.cpu,
        "downloads": traffic.downloads_per_object,
        "requests": traffic.requests,
        "peak": usage.peak,
    }


def _pull(server: Server, blob: Blob, times: int) -> Figures:
    return drive("pull", server.port, repository=REPOSITORY, digest=blob.digest, size=blob.size, times=times)


def _pull_in_turn(server: Server, blob: Blob) -> Figures:
    return {"wall": sum(_pull(server, blob, _WARM_DOWNLOADS)["wall"] for _ in range(_WARM_CLIENTS))}


def _herd(server: Server, blob: Blob) -> Figures:
    return drive("herd", server.port, repository=REPOSITORY, digest=blob.digest, size=blob.size, clients=_HERD)


def _taste(server: Server, blobs: tuple[Blob, ...]) -> Figures:
    named = [(blob.digest, blob.size) for blob in blobs]
    return drive("crowd", server.port, repository=REPOSITORY, blobs=named, taken=_TASTE)


def _one_by_one(server: Server, image: Image) -> Figures:
    return drive("image_herd", server.port, repository=REPOSITORY, tag=image.tag, clients=1)


def _crowd(server: Server, image: Image) -> Figures:
    return drive("image_herd", server.port, repository=REPOSITORY, tag=image.tag, clients=_HERD)


_WALL = Metric("wall", "wall time", "s")
_CPU = Metric("cpu", "server CPU", "s")
_PEAK = Metric("peak", "peak memory", "B")
_FIRST_BYTE = Metric("first_byte", "first byte", "s")
_DOWNLOADS = Metric("downloads", "upstream GETs per object", "")
_REQUESTS = Metric("requests", "upstream requests", "")

_CACHES = {MIRROR: "mirror", DISTRIBUTION: "Distribution 3.1 (proxy)", REGISTRY: "docker-registry 2.8 (proxy)"}
_THROUGH = {**_CACHES, NGINX: "upstream directly"}
_REGISTRIES = {MIRROR: "mirror", DISTRIBUTION: "Distribution 3.1", REGISTRY: "docker-registry 2.8"}
_STATIC = {**_REGISTRIES, NGINX: "nginx (static file)"}
_COLD = "a blob the server has never seen, fresh in every round; the upstream's file is in the page cache"
_EMPTY = "a blob the server has never seen, fresh in every round; the client's file is in the page cache"


def _against_both(metric: str, kind: Kind, limit: float) -> tuple[Bar, ...]:
    """The same promise against both versions of Distribution."""
    return (Bar(metric, kind, limit, DISTRIBUTION), Bar(metric, kind, limit, REGISTRY))


_WRK = f"wrk, {_WRK_CONNECTIONS} keep-alive connections, fixed time; each server writes its access log to a file"
_PER_REQUEST = (
    Metric("cpu", "server CPU per request", "s"),
    Metric("rate", "requests", "1/s"),
    Metric("p99", "p99", "s"),
    _PEAK,
)
_WARM_MANIFEST = (
    Bar("cpu", Kind.RATIO_AT_MOST, 0.12, REGISTRY),
    Bar("cpu", Kind.RATIO_AT_MOST, 0.30, DISTRIBUTION),
    *_against_both("p99", Kind.RATIO_AT_MOST, 1.0),
)

ROWS = (
    Row(
        key="warm-blob",
        number="P1",
        title="Warm blob, 256 MiB",
        load=f"{_WARM_CLIENTS} clients, one after the other, each {_WARM_DOWNLOADS} plain HTTP GETs on one connection",
        state="stored and in the page cache; another blob in every round, since how the kernel has laid out the pages "
        "of one is luck that lasts; the mirror pulled it through, both registries had it pushed, nginx serves a static "
        "file with sendfile",
        peers=_STATIC,
        metrics=(Metric("cpu", "server CPU per GiB", "s"), Metric("rate", "throughput", "GiB/s"), _PEAK),
        bars=(Bar("cpu", Kind.RATIO_AT_MOST, 1.3, NGINX), *_against_both("cpu", Kind.RATIO_AT_MOST, 1.0)),
        prepare=_warm_blob,
    ),
    Row(
        key="warm-manifest",
        number="P2",
        title="Warm manifest by tag",
        load=_WRK,
        state="one manifest, in the mirror's memory, its tag fresh; both registries had it pushed and ask nobody",
        peers=_STATIC,
        metrics=_PER_REQUEST,
        bars=_WARM_MANIFEST,
        prepare=partial(_warm_manifest, by_digest=False),
    ),
    Row(
        key="warm-manifest-digest",
        number="P2",
        title="Warm manifest by digest",
        load=_WRK,
        state="one manifest, in the mirror's memory; both registries had it pushed",
        peers=_STATIC,
        metrics=_PER_REQUEST,
        bars=_WARM_MANIFEST,
        prepare=partial(_warm_manifest, by_digest=True),
    ),
    Row(
        key="cold-blob",
        number="P3",
        title="Cold blob through the proxy, 256 MiB",
        load="1 client, 1 GET; upstream on loopback, unlimited",
        state=_COLD,
        peers=_THROUGH,
        metrics=(_WALL, _CPU, _FIRST_BYTE, _DOWNLOADS, _REQUESTS, _PEAK),
        bars=(
            *_against_both("wall", Kind.RATIO_AT_MOST, 0.75),
            Bar("first_byte", Kind.DIFFERENCE_AT_MOST, 0.020, NGINX),
        ),
        prepare=partial(_cold_blob, limited=False),
    ),
    Row(
        key="cold-blob-limited",
        number="P3",
        title="The same, upstream at 100 MB/s",
        load=f"1 client, 1 GET; upstream gives {LIMITED_BYTES_PER_SECOND // 10**6} MB/s to each connection",
        state=_COLD,
        peers=_THROUGH,
        metrics=(_WALL, _CPU, _FIRST_BYTE, _DOWNLOADS, _REQUESTS, _PEAK),
        bars=(
            Bar("wall", Kind.RATIO_AT_MOST, 1.15, NGINX),
            Bar("first_byte", Kind.DIFFERENCE_AT_MOST, 0.020, NGINX),
        ),
        prepare=partial(_cold_blob, limited=True),
    ),
    Row(
        key="herd-blob",
        number="P4",
        title=f"{_HERD} clients, one cold 256 MiB blob",
        load=f"{_HERD} clients at once, 1 GET each; upstream on loopback, unlimited",
        state=_COLD,
        peers=_CACHES,
        metrics=(_WALL, _CPU, _DOWNLOADS, _REQUESTS, _PEAK),
        bars=(Bar("downloads", Kind.ALWAYS, 1), *_against_both("wall", Kind.RATIO_AT_MOST, 0.6)),
        prepare=_blob_herd,
    ),
    Row(
        key="herd-image",
        number="P4",
        title=f"{_HERD} clients, one cold image of 10 layers",
        load=f"{_HERD} clients at once; each takes the manifest, then config and 10 layers of 16 MiB, three at a time; "
        "the mirror fetches layers ahead (its default)",
        state="an image the server has never seen, fresh in every round; the upstream's files are in the page cache",
        peers=_CACHES,
        metrics=(_WALL, _CPU, _DOWNLOADS, _REQUESTS, _PEAK),
        bars=(Bar("downloads", Kind.ALWAYS, 1), *_against_both("wall", Kind.RATIO_AT_MOST, 0.6)),
        prepare=_image_herd,
    ),
    Row(
        key="distant-image",
        number="P5",
        title="Cold image of 10 layers, 20 MB/s for each connection",
        load="1 client, which takes the manifest, then config and 10 layers of 16 MiB, three at a time; the upstream "
        f"gives {DISTANT_BYTES_PER_SECOND // 10**6} MB/s to each connection, however many, and is "
        f"{DISTANT_SECONDS * 1000:g} ms away, there and back, which every connection takes once more to "
        "be made; no TLS, no slow start; the mirror fetches layers ahead (its default)",
        state="an image the server has never seen, fresh in every round; the upstream's files are in the page cache",
        peers=_THROUGH,
        metrics=(_WALL, _CPU, _DOWNLOADS, _REQUESTS, _PEAK),
        bars=(Bar("wall", Kind.RATIO_AT_MOST, 0.6, NGINX), Bar("downloads", Kind.ALWAYS, 1)),
        prepare=_distant_image,
    ),
    Row(
        key="push-blob",
        number="P6",
        title="Push of one 256 MiB blob",
        load="1 client, 1 connection: POST, one PATCH, PUT; before 201 the mirror syncs file, its directory and index, "
        "the others their own files, and not the directory that the blob is renamed into",
        state=_EMPTY,
        peers=_REGISTRIES,
        metrics=(_WALL, _CPU, _PEAK),
        bars=_against_both("wall", Kind.RATIO_AT_MOST, 1.0),
        prepare=_push,
    ),
    Row(
        key="push-small",
        number="P7",
        title="Pushes of 1 KiB blobs",
        load=f"1 client, 1 keep-alive connection, {_SMALL_BLOBS} blobs one after the other: POST, PUT; "
        "syncs for each: the mirror 3 (file, its directory, index), Distribution 3.1 10, 2.8 11; the mirror writes the "
        "row of an upload only if it lasts for more than 50 ms",
        state="blobs the server has never seen",
        peers=_REGISTRIES,
        metrics=(
            Metric("wall", "wall time per blob", "s"),
            Metric("rate", "blobs", "1/s"),
            Metric("cpu", "server CPU per blob", "s"),
            _PEAK,
        ),
        bars=_against_both("rate", Kind.RATIO_AT_LEAST, 2.0),
        prepare=_push_small,
    ),
    Row(
        key="warm-crowd",
        number="P8",
        title=f"Memory: {CROWD} pulls of one 1 GiB blob",
        load=f"{CROWD} clients at once, 1 GET each; none goes on before all have their first byte, then each takes "
        f"{_TASTE // MIB} MiB and leaves",
        state="a blob of zeros, stored and in the page cache; the same server in every round",
        peers=_STATIC,
        metrics=(_PEAK, _CPU, _WALL),
        bars=(Bar("peak", Kind.AT_MOST, 150 * MIB),),
        prepare=_warm_crowd,
        most_rounds=_MEMORY_ROUNDS,
    ),
    Row(
        key="push-crowd",
        number="P8",
        title=f"Memory: {CROWD} pushes at once",
        load=f"{CROWD} clients at once, each pushes a blob of {CROWD_BLOB // MIB} MiB: POST, one PATCH, PUT; none ends "
        "before all have begun",
        state="a fresh server in every round; blobs that nobody has seen before",
        peers=_REGISTRIES,
        metrics=(_PEAK, _CPU, _WALL),
        bars=(Bar("peak", Kind.AT_MOST, 350 * MIB),),
        prepare=_push_crowd,
        most_rounds=_MEMORY_ROUNDS,
    ),
    Row(
        key="cold-crowd",
        number="P8",
        title=f"Memory: {CROWD} cold downloads",
        load=f"{CROWD} clients at once, each 1 GET of another blob of {CROWD_BLOB // MIB} MiB; none goes on before all "
        "have their first byte; upstream on loopback, unlimited",
        state="a fresh server in every round; the upstream's files are in the page cache",
        peers=_CACHES,
        metrics=(_PEAK, _CPU, _WALL, _DOWNLOADS, _REQUESTS),
        bars=(Bar("peak", Kind.AT_MOST, 350 * MIB), Bar("downloads", Kind.ALWAYS, 1)),
        prepare=_cold_crowd,
        most_rounds=_MEMORY_ROUNDS,
    ),
)
