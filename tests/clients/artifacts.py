"""The clients of registries without a container engine: crane, oras, Helm and cosign. None knows mirrors."""

import json
from pathlib import Path
from typing import Any

from tests.clients.processes import fence, find, run


class Crane:
    def __init__(self, folder: Path) -> None:
        self._env = fence(folder / "home")

    def __call__(self, *args: str) -> str:
        return run([find("crane"), *args], self._env)


class Oras:
    """oras, and a folder for the files of artifacts: what it pushes has the names that they have there."""

    def __init__(self, folder: Path) -> None:
        self._env = fence(folder / "home")
        self.folder = folder / "files"
        self.folder.mkdir()

    def __call__(self, *args: str) -> str:
        return run([find("oras"), *args], self._env, folder=self.folder)

    def json(self, *args: str) -> Any:
        return json.loads(self(*args, "--format=json"))

    def file(self, name: str, text: str) -> str:
        """A text to push, as oras wants to hear it."""
        (self.folder / name).write_text(text)
        return f"{name}:text/plain"

    def pulled(self, image: str, name: str) -> str:
        """The text in a file of an artifact, fetched now."""
        self("pull", "--output=pulled", image)
        return (self.folder / "pulled" / name).read_text()


class Helm:
    """helm, and a folder for its charts. It would use TLS on loopback, too, if it were not told."""

    def __init__(self, folder: Path) -> None:
        self._env = fence(folder / "home")
        self._folder = folder

    def __call__(self, *args: str) -> str:
        return run([find("helm"), *args], self._env, folder=self._folder)

    def package(self, name: str, version: str) -> str:
        """A chart whose only template has its name and version; the path of its archive."""
        chart = self._folder / f"{name}-{version}"
        (chart / "templates").mkdir(parents=True)
        (chart / "Chart.yaml").write_text(f"apiVersion: v2\nname: {name}\nversion: {version}\n")
        (chart / "templates/map.yaml").write_text(
            "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ .Release.Name }}\n"
            "data:\n  chart: {{ .Chart.Name }} {{ .Chart.Version }}\n"
        )
        self("package", str(chart))
        return str(self._folder / f"{name}-{version}.tgz")

    def push(self, archive: str, repository: str) -> None:
        self("push", "--plain-http", archive, f"oci://{repository}")

    def template(self, chart: str, *options: str) -> str:
        """The chart's manifests, fetched and filled in now."""
        return self("template", "release", f"oci://{chart}", "--plain-http", *options)


class Cosign:
    """cosign with a pair of keys of its own, and without the transparency log, which is a server in the internet."""

    def __init__(self, folder: Path) -> None:
        self._env = fence(folder / "home") | {"COSIGN_PASSWORD": "tests"}
        self._folder = folder

    def make_keys(self) -> None:
        self("generate-key-pair")

    def __call__(self, *args: str) -> str:
        return run([find("cosign"), *args], self._env, folder=self._folder)

    def sign(self, image: str, *, as_referrer: bool) -> None:
        """Adds a signature: as a manifest that refers to the image, or in the tag that cosign 2 and before look for."""
        self(
            "sign",
            "--key=cosign.key",
            "--yes",
            "--tlog-upload=false",
            "--use-signing-config=false",
            "--allow-http-registry",
            f"--new-bundle-format={as_referrer}".lower(),
            image,
        )

    def verify(self, image: str, *, as_referrer: bool) -> Any:
        """What was signed. CommandFailed where there is no good signature."""
        return json.loads(
            self(
                "verify",
                "--key=cosign.pub",
                "--insecure-ignore-tlog=true",
                "--allow-http-registry",
                f"--new-bundle-format={as_referrer}".lower(),
                "--output=json",
                image,
            )
        )
