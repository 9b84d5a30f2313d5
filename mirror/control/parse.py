"""From a command's request to typed values."""

from typing import Annotated, TypeVar

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mirror.control.keys import COMMANDS, Commands
from ocispec.errors import RequestInvalid
from ocispec.image import ImageName
from ocispec.platform import Platform

# Of one order. They are read on the loop: some 50 ms.
_MAX_IMAGES = 10_000

Order = TypeVar("Order", bound=BaseModel)


class RefreshOrder(BaseModel):
    model_config = ConfigDict(extra="forbid")
    image: str


class WarmOrder(BaseModel):
    model_config = ConfigDict(extra="forbid")
    images: Annotated[list[str], Field(min_length=1, max_length=_MAX_IMAGES)]
    platforms: list[str] = []


def commands(request: web.Request) -> Commands:
    return request.app[COMMANDS]


def image(request: web.Request) -> ImageName:
    """The image in the query. Raises RequestInvalid, or that its name is not valid."""
    text = request.query.get("image")
    if text is None:
        raise RequestInvalid("the query has to name an image")
    return ImageName.parse(text)


def platforms(request: web.Request) -> list[Platform]:
    return [Platform.parse(text) for text in request.query.getall("platform", [])]


async def order(request: web.Request, kind: type[Order]) -> Order:
    """The body. Raises RequestInvalid."""
    try:
        return kind.model_validate_json(await request.read())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise RequestInvalid(f"{where}: {first['msg']}" if where else first["msg"]) from None
