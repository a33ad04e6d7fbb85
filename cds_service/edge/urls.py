"""URLs of other machines: read by one parser, compared part by part, never by how they look."""

import re
from urllib.parse import SplitResult, unquote, urlsplit

_PRINTABLE = re.compile(r"[\x21-\x5b\x5d-\x7e]+")  # no space, no control character, no backslash
_HIDDEN = re.compile(r"[\x00-\x20\x7f\\]")
_DEFAULT = {"https": 443, "http": 80}


class BadUrl(ValueError):
    """This URL is not asked. Its text is a fixed phrase without the URL."""


def read(url: str) -> SplitResult:
    """The parts of an absolute http or https URL. Raises BadUrl for what two programs could read differently."""
    if not _PRINTABLE.fullmatch(url):
        raise BadUrl("its URL holds characters that no URL has")
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  # read for its ValueError
    except ValueError:
        raise BadUrl("its URL cannot be read") from None
    if parts.scheme not in _DEFAULT or not parts.hostname or "%" in parts.netloc:
        raise BadUrl("its URL is none of https")
    if "@" in parts.netloc:
        raise BadUrl("its URL names a user")
    return parts


def port(parts: SplitResult) -> int:
    """The port that is asked, named or not."""
    return parts.port or _DEFAULT[parts.scheme]


def base(url: str) -> str:
    """A base URL in its one form: lower-case host, no default port, no slash at the end. Raises BadUrl."""
    parts = read(url)
    if parts.query or parts.fragment or not _is_plain(parts.path):
        raise BadUrl("its URL is no base URL")
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    shown = "" if port(parts) == _DEFAULT[parts.scheme] else f":{port(parts)}"
    return f"{parts.scheme}://{host}{shown}{parts.path.rstrip('/')}"


def is_within(url: str, of: str) -> bool:
    """Whether a URL is of the same scheme, host and port as a base URL, and its path at or below that of the base."""
    try:
        one, other = read(url), read(of)
    except BadUrl:
        return False
    same = (one.scheme, one.hostname, port(one)) == (other.scheme, other.hostname, port(other))
    return same and _is_plain(one.path) and (one.path == other.path or one.path.startswith(f"{other.path}/"))


def _is_plain(path: str) -> bool:
    """Whether nothing in a path can lead upwards, in whatever way a server or a proxy unfolds it."""
    while (unfolded := unquote(path)) != path:
        if unfolded.count("/") != path.count("/") or _HIDDEN.search(unfolded):
            return False
        path = unfolded
    # Some servers cut parameters off a step before they take it: `..;x` is `..` to them.
    return not {".", ".."} & {step.partition(";")[0] for step in path.split("/")}
