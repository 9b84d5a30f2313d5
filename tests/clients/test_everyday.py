"""One walk through the commands of every day, with a real Docker Engine, from the first pull to an upstream cut off."""

import hashlib
from pathlib import Path

import pytest

from tests.clients.images import PYTHON
from tests.clients.programs import DockerEngine
from tests.clients.servers import Content, Mirror, Registry

pytestmark = pytest.mark.clients

DOCKERFILE = f"""\
FROM {PYTHON}
ENV APP_NAME=minha-imagem
WORKDIR /app
COPY app.sh .
RUN echo "built as $APP_NAME" > built.txt
CMD ["sh", "app.sh"]
"""
OUTPUT = "built as minha-imagem\nrunning as minha-imagem\n"


def test_everyday(docker: DockerEngine, mirror: Mirror, upstream: Registry, tmp_path: Path) -> None:
    hub = {image: upstream.content(*image) for image in (("library/nginx", "latest"), tuple_of(PYTHON))}
    mine = f"{mirror.address}/minha-imagem:latest"
    (tmp_path / "Dockerfile").write_text(DOCKERFILE)
    (tmp_path / "app.sh").write_text('cat built.txt\necho "running as $APP_NAME"\n')

    docker("pull", "nginx")
    docker.build("minha-imagem", tmp_path)
    assert docker.run("minha-imagem") == OUTPUT
    docker("tag", "minha-imagem", mine)
    docker("push", mine)
    built = docker.id_of("minha-imagem")

    docker("rmi", "minha-imagem", mine)
    docker("image", "prune", "--all", "--force")
    assert docker("images", "--all", "--quiet") == ""

    upstream.stop()
    docker("pull", "nginx")
    docker("pull", mine)
    assert docker.id_of("nginx") == hub["library/nginx", "latest"].config
    assert docker.id_of(mine) == built
    assert docker.run("nginx") == "this is nginx\n"
    assert docker.run(mine) == OUTPUT

    pulled_and_pushed = [*hub.values(), mirror.content("minha-imagem", "latest")]
    assert shared_by(*hub.values()), "nginx and python stand on the same layer"
    once = {digest: size for content in pulled_and_pushed for digest, size in content.everything.items()}
    on_disk = mirror.stored()
    blobs = {digest for content in pulled_and_pushed for digest in content.blobs}
    assert blobs <= on_disk.keys() <= once.keys(), "every blob is there, and nothing that nobody asked for"
    assert sum(on_disk.values()) == sum(once[digest] for digest in on_disk), "each digest is on disk once"
    assert hashes_of(mirror) == set(on_disk), "each file is what its name says"


def tuple_of(image: str) -> tuple[str, str]:
    name, tag = image.split(":")
    return f"library/{name}", tag


def shared_by(one: Content, other: Content) -> set[str]:
    return one.blobs.keys() & other.blobs.keys()


def hashes_of(mirror: Mirror) -> set[str]:
    files = (file for file in (mirror.root / "blobs").rglob("*") if file.is_file())
    return {f"sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}" for file in files}
