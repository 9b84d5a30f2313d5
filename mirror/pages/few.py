"""As much of a list as a page shows: how long it is, is for whoever made the image to say. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")
# More than images have that were made to be run; and no more than is rendered before anybody else has to wait for it.
MOST = 200


@dataclass(frozen=True, slots=True)
class Few(Generic[T]):
    """The first ones, and how many `more` there are."""

    shown: Sequence[T]
    more: int


def few(all_of_them: Sequence[T]) -> Few[T]:
    return Few(all_of_them[:MOST], max(0, len(all_of_them) - MOST))
