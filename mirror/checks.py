"""What can be found wrong before anything is built: `check-config` lets nothing through that `serve` refuses."""

import shutil
from collections.abc import Iterator

from mirror.config import Config, Warm
from mirror.errors import ConfigError
from mirror.routing import Names
from mirror.upstream.sessions import tls_of
from mirror.values import parse_image
from ocispec.errors import RegistryError
from ocispec.image import ImageName


def check(config: Config, names: Names) -> None:
    """The files that are named have to be there, and the images to be of a known upstream. Blocking; raises
    ConfigError."""
    for section, upstream in config.upstreams.items():
        try:
            upstream.read_password()
            tls_of(upstream)
        except ConfigError as error:
            raise ConfigError(f"upstreams.{section}: {error}") from None
    for warm in config.warm:
        for where, image in _images(warm):
            try:
                names.check(image)
            except RegistryError as error:
                raise ConfigError(f"warm: {where}: {error}") from None


def _images(warm: Warm) -> Iterator[tuple[str, ImageName]]:
    """Each with where it stands. Raises ConfigError."""
    yield from ((str(image), image) for image in warm.images)
    for number, text in warm.read_file():
        where = f"file {warm.file}, line {number}"
        try:
            yield f"{where}: {text[:300]}", parse_image(text)
        except ValueError as error:
            raise ConfigError(f"warm: {where}: {error}") from None


def missing_helpers(config: Config) -> list[tuple[str, str]]:
    """Sections of upstreams, and the credential helpers of theirs that are not on the PATH (yet). Blocking."""
    wanted = {
        (section, f"docker-credential-{account.credential_helper}")
        for section, upstream in config.upstreams.items()
        for account in upstream.identities
        if account.credential_helper
    }
    return sorted((section, program) for section, program in wanted if shutil.which(program) is None)
