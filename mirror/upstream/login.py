"""What is shown to an upstream to be let in."""

import base64
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Login:
    """A user's name and secret; or an identity token, which has no name and is good for a token service only."""

    username: str
    secret: str = field(repr=False)
    is_identity_token: bool = False

    @property
    def basic(self) -> str:
        """The Authorization header that it is sent in."""
        return "Basic " + base64.b64encode(f"{self.username}:{self.secret}".encode()).decode()
