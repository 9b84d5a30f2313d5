"""Figures, times and names as people read them; and the figures of drawings."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.pages import chart, shown, words
from mirror.wiring.server import Server
from ocispec.descriptor import Descriptor
from ocispec.digest import Digest
from ocispec.names import RepositoryName
from ocispec.platform import Platform
from storage.repository import Repository

DIGEST = Digest.of(b"x")


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1 kB"),
        (12_345_678, "12.3 MB"),
        (999_600, "1 MB"),
        (5e9, "5 GB"),
        (1e18, "1000 PB"),
    ],
)
def test_sizes(count: float, said: str) -> None:
    assert words.size(count) == said


@pytest.mark.parametrize(
    ("share", "said"), [(0, "0 %"), (0.5, "50 %"), (0.9999, "99.9 %"), (1, "100 %"), (0.123, "12.3 %")]
)
def test_shares(share: float, said: str) -> None:
    assert words.percent(share) == said


@pytest.mark.parametrize(
    ("passed", "said"),
    [
        (0, "just now"),
        (59, "just now"),
        (60, "1 minute ago"),
        (7200, "2 hours ago"),
        (86400 * 400, "1 year ago"),
        (-5, "just now"),
    ],
)
def test_ages(passed: float, said: str) -> None:
    assert words.ago(1000.0, 1000.0 + passed) == said


def test_counts_and_days() -> None:
    assert words.count(1234567) == "1\u202f234\u202f567"
    assert (words.iso(0), words.day(0)) == ("1970-01-01T00:00:00Z", "1 January 1970")


def test_names() -> None:
    repository = Repository(RepositoryName("library/nginx"), "docker.io")
    assert words.repository_url(repository) == "/r/docker.io/library/nginx"
    assert words.breakable("a/<b>") == "a/<wbr>&lt;b&gt;"
    assert words.short(DIGEST) == DIGEST.hex[:12]


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (Descriptor("m", DIGEST, 1, platform=Platform("linux", "arm64", "v8")), "linux/arm64/v8"),
        (
            Descriptor("m", DIGEST, 1, annotations={"vnd.docker.reference.type": "attestation-manifest"}),
            "attestation-manifest",
        ),
        (
            Descriptor("m", DIGEST, 1, artifact_type="application/x", platform=Platform("unknown", "unknown")),
            "application/x",
        ),
        (Descriptor("m", DIGEST, 1), "any platform"),
    ],
)
def test_entries(entry: Descriptor, said: str) -> None:
    assert words.entry_name(entry) == said


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ('/bin/sh -c #(nop)  CMD ["bash"]', 'CMD ["bash"]'),
        ("/bin/sh -c apt-get update", "RUN apt-get update"),
        ("COPY a / # buildkit", "COPY a /"),
        ("", ""),
    ],
)
def test_instructions(written: str, said: str) -> None:
    assert words.instruction(written) == said


@given(sizes=st.lists(st.integers(0, 10**12), min_size=1, max_size=127))
def test_layers_fill_the_whole_and_each_can_be_seen(sizes: list[int]) -> None:
    slices = chart.layers(sizes, [""] * len(sizes))
    assert sum(one.width for one in slices) == pytest.approx(100, abs=0.2)
    assert all(one.width > 0.3 for one in slices)
    assert [one.x for one in slices] == sorted(one.x for one in slices)


@given(
    hours=st.dictionaries(
        st.integers(0, 60), st.fixed_dictionaries({"sent": st.integers(0, 10**12), "fetched": st.integers(0, 10**12)})
    )
)
def test_traffic_stays_in_its_frame(hours: dict[int, dict[str, int]]) -> None:
    drawn = chart.traffic(hours, now=50 * 3600.0)
    shown = [hours.get(hour, {}) for hour in range(3, 51)]
    assert len(drawn.bars) == (48 if any(any(amount.values()) for amount in shown) else 0)
    for bar in drawn.bars:
        assert 0 <= bar.x <= bar.x + bar.width <= drawn.width
        assert 0 <= bar.sent_y <= drawn.base
        assert bar.sent_y + bar.sent_height == pytest.approx(drawn.base, abs=0.2)


@pytest.mark.parametrize(
    ("server", "podman", "ctr"),
    [
        (Server("https", "mirror.example.com"), "", ""),
        (Server("http", "mirror.example.com:5000"), "--tls-verify=false ", "--plain-http "),
        (Server("http", "192.0.2.1:5000"), "--tls-verify=false ", "--plain-http "),
        (Server("http", "localhost:5000"), "--tls-verify=false ", ""),
        (Server("http", "127.0.0.1:5000"), "--tls-verify=false ", ""),
        (Server("http", "[::1]:5000"), "--tls-verify=false ", ""),
    ],
)
def test_commands(server: Server, podman: str, ctr: str) -> None:
    image = f"{server.address}/team/app:1.0"
    assert shown.commands(server, "team/app", ":1.0") == [
        ("docker", f"docker pull {image}"),
        ("podman", f"podman pull {podman}{image}"),
        ("containerd", f"ctr images pull {ctr}{image}"),
    ]
