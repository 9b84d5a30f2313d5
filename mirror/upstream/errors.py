"""What the other registry did. No status of ours here: whoever asked decides what a client is told."""


class UpstreamError(Exception):
    """Anything that kept an upstream from answering properly. The text is fit for a client: no URL, no secret."""

    upstream = ""  # the host that clients know it by; for the log


class UpstreamUnavailable(UpstreamError):
    """It cannot be reached, broke off, or answered 5xx."""


class UpstreamNotAsked(UpstreamUnavailable):
    """Nobody asked it: it is known not to answer."""


class UpstreamOffline(UpstreamNotAsked):
    """Nobody asked it: the operator switched it off."""


class UpstreamTimedOut(UpstreamUnavailable):
    """It did not answer, or not fast enough, in the time it has."""


class UpstreamRateLimited(UpstreamError):
    """429: it wants fewer requests from us. `is_news`: it has just said so; else nobody asked."""

    def __init__(self, message: str, retry_after: float | None = None, *, is_news: bool = True) -> None:
        super().__init__(message)
        self.retry_after, self.is_news = retry_after, is_news


class UpstreamRefused(UpstreamError):
    """401 or 403: our account, or nobody's, may not read this. Docker Hub says so of what does not exist, too."""


class UpstreamLoginRefused(UpstreamError):
    """The configured login is wrong. Not asked again: that would only lock the account."""


class UpstreamNoLogin(UpstreamError):
    """There should be a login, and it is not to be had: what has it failed."""


class UpstreamBroken(UpstreamError):
    """It broke the protocol: wrong bytes, wrong length, a page instead of a manifest, a redirect to where none may."""
