"""Names to repositories: aliases, prefixes, ns, and who wins where a name could mean two things."""

import pytest

from mirror.routing import Names, Place, owner
from ocispec.errors import NameUnknown
from ocispec.image import ImageName
from ocispec.names import RepositoryName
from storage.repository import Repository
from storage.scope import Rules

HUB = "docker.io"
HOSTS = dict.fromkeys(["docker.io", "ghcr.io", "registry.example.com"], Rules())


def name(text: str) -> RepositoryName:
    return RepositoryName.parse(text)


def cached(text: str, host: str = HUB) -> Repository:
    return Repository(name(text), host)


@pytest.fixture
def names() -> Names:
    return Names(HOSTS, HUB)


@pytest.mark.parametrize(
    "text",
    [
        "nginx",
        "library/nginx",
        "docker.io/nginx",
        "docker.io/library/nginx",
        "index.docker.io/library/nginx",
        "registry-1.docker.io/library/nginx",
    ],
)
def test_resolve__every_spelling_of_an_official_image_is_the_same_repository(names: Names, text: str) -> None:
    assert names.resolve(name(text)).cached == cached("library/nginx")


@pytest.mark.parametrize("ns", ["docker.io", "DOCKER.IO", "index.docker.io", "registry-1.docker.io"])
@pytest.mark.parametrize("text", ["nginx", "library/nginx", "docker.io/library/nginx", "index.docker.io/nginx"])
def test_resolve__ns_and_its_aliases_with_and_without_the_prefix(names: Names, ns: str, text: str) -> None:
    assert names.resolve(name(text), ns) == Place(name(text), None, cached("library/nginx"))


@pytest.mark.parametrize(
    ("text", "ns", "expected"),
    [
        ("ghcr.io/org/app", None, cached("org/app", "ghcr.io")),
        ("ghcr.io/app", None, cached("app", "ghcr.io")),  # library/ is Docker Hub's alone
        ("org/app", "ghcr.io", cached("org/app", "ghcr.io")),
        ("ghcr.io/org/app", "ghcr.io", cached("org/app", "ghcr.io")),
        ("docker.io/org/app", "ghcr.io", cached("docker.io/org/app", "ghcr.io")),  # not that upstream's own prefix
        ("registry.example.com/a/b/c", None, cached("a/b/c", "registry.example.com")),
        ("org/app", None, cached("org/app")),
        ("quay.io/org/app", None, None),  # another registry's name is nothing to ask Docker Hub for
        ("quay.io/org/app", "docker.io", cached("quay.io/org/app")),  # unless somebody says so
        ("my.name", None, cached("library/my.name")),
        ("ghcr.io", None, cached("library/ghcr.io")),  # a host without a repository is no prefix
    ],
)
def test_resolve__upstream(names: Names, text: str, ns: str | None, expected: Repository | None) -> None:
    assert names.resolve(name(text), ns).cached == expected


@pytest.mark.parametrize("text", ["docker.io/org/app", "ghcr.io/org/app", "index.docker.io/nginx"])
def test_resolve__nothing_is_hosted_under_an_upstream(names: Names, text: str) -> None:
    assert names.resolve(name(text)).hosted is None
    assert names.resolve(name("org/app"), "ghcr.io").hosted is None


def test_resolve__library_is_reserved_only_where_docker_hub_is_the_default() -> None:
    assert Names(HOSTS, HUB).resolve(name("library/app")).hosted is None
    assert Names(HOSTS, HUB).resolve(name("libraryx/app")).hosted == Repository(name("libraryx/app"))
    elsewhere = Names(HOSTS, "ghcr.io").resolve(name("library/app"))
    assert elsewhere == Place(name("library/app"), Repository(name("library/app")), cached("library/app", "ghcr.io"))


def test_resolve__without_a_default_a_plain_name_is_hosted_only() -> None:
    known = "docker.io, ghcr.io, registry.example.com"
    hint = f"no upstream is the default, so org/app is only looked for here; known: {known}"
    found = Names(HOSTS, None).resolve(name("org/app"))
    assert found == Place(name("org/app"), Repository(name("org/app")), None, hint)
    assert Names({}, None).resolve(name("docker.io/nginx")).cached is None
    assert Names({}, None).resolve(name("org/app")).hint is None


@pytest.mark.parametrize(
    "ns",
    ["quay.io", "", "docker.io:443", "docker.io/", "evil.example", "169.254.169.254", "http://docker.io", "x" * 5000],
)
def test_resolve__an_unknown_ns_is_refused_and_named_briefly(names: Names, ns: str) -> None:
    with pytest.raises(NameUnknown) as caught:
        names.resolve(name("org/app"), ns)
    assert "docker.io" in str(caught.value)
    assert len(str(caught.value)) < 250


def test_resolve__keeps_the_name_that_the_client_used(names: Names) -> None:
    assert names.resolve(name("docker.io/nginx")).name == "docker.io/nginx"


def test_owner__hosted_wins_as_soon_as_it_exists(names: Names) -> None:
    place = names.resolve(name("team/app"))
    hosted = Repository(name("team/app"))
    assert owner(place, set()) == cached("team/app")
    assert owner(place, {cached("team/app")}) == cached("team/app")
    assert owner(place, {hosted, cached("team/app")}) == hosted


def test_owner__a_place_that_is_only_hosted_or_only_cached() -> None:
    only_hosted = Names({}, None).resolve(name("team/app"))
    assert owner(only_hosted, set()) == Repository(name("team/app"))
    only_cached = Names(HOSTS, HUB).resolve(name("library/app"))
    # Not even a hosted repository of that name, left from another configuration, gets in the way.
    assert owner(only_cached, {Repository(name("library/app"))}) == cached("library/app")


ONLY_OURS = {
    "docker.io": Rules(deny=["library/evil", "bad/*"]),
    "ghcr.io": Rules(allow=["org/*"], deny=["org/secret*"]),
}


@pytest.mark.parametrize(
    ("text", "ns", "found"),
    [
        ("nginx", None, True),
        ("evil", None, False),
        ("docker.io/evil", None, False),
        ("library/evil", "docker.io", False),
        ("bad/app", None, False),
        ("bad", None, True),
        ("ghcr.io/org/app", None, True),
        ("ghcr.io/org/deep/app", None, True),
        ("ghcr.io/org/secret", None, False),
        ("org/secrets/app", "ghcr.io", False),
        ("ghcr.io/other/app", None, False),
    ],
)
def test_rules__keep_repositories_away(text: str, ns: str | None, found: bool) -> None:
    place = Names(ONLY_OURS, HUB).resolve(name(text), ns)
    assert (place.cached is not None) is found
    assert found or "keep" in (place.hint or "")


def test_owner__of_what_the_rules_keep_away() -> None:
    with pytest.raises(NameUnknown, match="rules of this mirror"):
        owner(Names(ONLY_OURS, HUB).resolve(name("ghcr.io/other/app")), set())
    # Where a push is possible the name is at least ours.
    assert owner(Names(ONLY_OURS, HUB).resolve(name("bad/app")), set()) == Repository(name("bad/app"))


@pytest.mark.parametrize(
    ("text", "ns", "meant"),
    [
        ("docker.io/docker.io/library/nginx", None, "docker.io/library/nginx"),
        ("docker.io/docker.io/nginx", "docker.io", "docker.io/nginx"),
        ("docker.io/index.docker.io/library/nginx", None, "docker.io/library/nginx"),
        ("index.docker.io/docker.io/org/app", None, "docker.io/org/app"),
        ("ghcr.io/ghcr.io/org/app", None, "ghcr.io/org/app"),
        ("ghcr.io/ghcr.io/org/app", "ghcr.io", "ghcr.io/org/app"),
    ],
)
def test_resolve__a_host_that_stands_twice_means_nothing(names: Names, text: str, ns: str | None, meant: str) -> None:
    """No registry has its own name in front of its repositories: it need not be asked to know."""
    place = names.resolve(name(text), ns)
    with pytest.raises(NameUnknown, match=f"twice in this name; did you mean {meant}"):
        owner(place, set())


def test_resolve__a_mirror_as_an_upstream_has_other_registries_in_its_names(names: Names) -> None:
    chained = cached("docker.io/library/nginx", "registry.example.com")
    assert names.resolve(name("registry.example.com/docker.io/library/nginx")).cached == chained
    assert names.resolve(name("docker.io/library/nginx"), "registry.example.com").cached == chained


@pytest.mark.parametrize(
    ("repository", "shown"),
    [
        (cached("library/nginx"), True),
        (cached("library/evil"), False),
        (cached("bad/app"), False),
        (cached("org/app", "ghcr.io"), True),
        (cached("org/secret", "ghcr.io"), False),
        (cached("other/app", "ghcr.io"), False),
        (cached("org/app", "quay.io"), False),  # no upstream (any more)
        (Repository(name("team/app")), True),
        (Repository(name("bad/app")), True),  # the rules are about what comes from upstreams
        (Repository(name("index.docker.io/org/app")), False),
        (Repository(name("ghcr.io/org/app")), False),  # pushed before there was such an upstream
        (Repository(name("library/app")), False),
        (Repository(name("library")), False),
        (Repository(name("quay.io/org/app")), True),
    ],
)
def test_scope__what_a_pull_can_get_at(repository: Repository, shown: bool) -> None:
    assert Names(ONLY_OURS, HUB).scope.has(repository) is shown


def test_rules__what_they_hide_has_a_name() -> None:
    hiding = Names(ONLY_OURS, HUB)
    assert hiding.resolve(name("ghcr.io/org/secret")).hidden == cached("org/secret", "ghcr.io")
    assert hiding.resolve(name("bad/app")).hidden == cached("bad/app")
    assert hiding.resolve(name("evil")).hidden == cached("library/evil")
    assert hiding.resolve(name("org/app")).hidden is None


@pytest.mark.parametrize("rule", ["alpine", "library/alpine", "a*e", "library/a*"])
def test_rules__official_images_of_docker_hub_have_two_names(rule: str) -> None:
    for text in ("alpine", "library/alpine", "docker.io/alpine", "docker.io/library/alpine"):
        assert Names({HUB: Rules(deny=[rule])}, HUB).resolve(name(text)).cached is None
        assert Names({HUB: Rules(allow=[rule])}, HUB).resolve(name(text)).cached == cached("library/alpine")
    assert Names({HUB: Rules(deny=[rule])}, HUB).resolve(name("nginx")).cached is not None


def test_hosted__a_name_of_ours_is_never_looked_for_elsewhere() -> None:
    names = Names(HOSTS, HUB, ["team/*", "tools"])
    for text in ("team/app", "team/deep/app", "tools"):
        assert names.resolve(name(text)) == Place(name(text), Repository(name(text)), None)
    for text in ("teams/app", "other/app", "tools/app"):
        place = names.resolve(name(text))
        assert place.cached is not None
        assert place.is_closed
    assert names.resolve(name("library/app")).hosted is None
    assert names.resolve(name("quay.io/org/app")).is_closed


@pytest.mark.parametrize(
    "text", ["localhost:5000/library/nginx", "127.0.0.1:80/library/nginx", "mirror.example.com/library/nginx"]
)
def test_find__the_mirrors_own_address_in_front(text: str) -> None:
    names = Names(HOSTS, HUB, own=("mirror.example.com",))
    with pytest.raises(NameUnknown, match=r"; leave the mirror's own address out: library/nginx$"):
        names.check(ImageName.parse(text))
    with pytest.raises(NameUnknown) as elsewhere:
        names.check(ImageName.parse("other.example/library/nginx"))
    assert "own address" not in str(elsewhere.value)


@pytest.mark.parametrize(
    ("text", "default", "reason"),
    [
        ("nginx", HUB, None),
        ("ghcr.io/org/app", HUB, None),
        ("team/app", None, None),  # it may be pushed here
        ("quay.io/org/app", HUB, "no upstream is called 'quay.io'; known: docker.io, ghcr.io"),
        ("lab:5000/app", HUB, "no upstream is called 'lab:5000'; known: "),
        ("ghcr.io/other/app", HUB, "the rules of this mirror keep other/app of ghcr.io away"),
        ("bad/app", HUB, "the rules of this mirror keep bad/app of docker.io away"),
        ("docker.io/docker.io/nginx", HUB, "docker.io stands twice in this name"),
    ],
)
def test_check(text: str, default: str | None, reason: str | None) -> None:
    names, image = Names(ONLY_OURS, default), ImageName.parse(text)
    if reason is None:
        names.check(image)
        return
    with pytest.raises(NameUnknown) as refused:
        names.check(image)
    assert str(refused.value).startswith(reason)
