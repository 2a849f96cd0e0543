"""What went wrong with the hub, in words that say what to do: one sentence for each of its answers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ken.errors import HubError, KenError

_TOKEN = "set HF_TOKEN, call `hf auth login` once, or give ken.Location(…, token=…)"
OFFLINE = "the hub itself is not asked, because HF_HUB_OFFLINE is set"


class UnreachableError(HubError):
    """No answer: the network is down, the name is wrong, or the hub is."""


@contextmanager
def in_words(hub_id: str, *, revision: str = "", text: str = "", token: str | None = None) -> Iterator[None]:
    """A block of calls to huggingface_hub, whose errors leave it as `HubError`. No message has the token.

    Args:
        hub_id: The repository.
        revision: Its revision, as it was asked for.
        text: What the user gave, if it might as well have been a path.
        token: The token that was given, to be left out of what the library says.

    >>> from huggingface_hub.errors import OfflineModeIsEnabled
    >>> try:
    ...     with in_words("org/name"):
    ...         raise OfflineModeIsEnabled("no")
    ... except HubError as error:
    ...     print(error)
    org/name: the hub itself is not asked, because HF_HUB_OFFLINE is set
    """
    from huggingface_hub import constants, get_token
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    page = f"{constants.ENDPOINT}/{hub_id}"
    known = token or get_token()
    try:
        yield
    except KenError:
        raise
    except GatedRepoError:
        have = "the token in use has no access yet" if known else f"and give a token then ({_TOKEN})"
        raise HubError(f"{hub_id} is gated: ask for access at {page}; {have}") from None
    except RepositoryNotFoundError:
        front = f"there is no file or folder {text}, nor" if text else "there is no"
        have = "the token in use does not see it" if known else f"if it is private, give a token ({_TOKEN})"
        raise HubError(f"{front} a repository {hub_id} on the hub ({page}); {have}") from None
    except RevisionNotFoundError:
        what = repr(revision) if revision else "of its default branch"
        raise HubError(f"{hub_id} has no revision {what}; {page}/commits shows those that it has") from None
    except OfflineModeIsEnabled:
        raise HubError(f"{hub_id}: {OFFLINE}") from None
    except HfHubHTTPError as error:
        status = error.response.status_code
        if status == 401:
            raise HubError(f"{hub_id}: the hub does not accept the token in use; {_TOKEN}") from None
        if status == 403:
            raise HubError(f"{hub_id}: the token in use does not allow this ({_said(error, known)})") from None
        if status == 412:
            raise HubError(f"{hub_id} has been changed by somebody else meanwhile; try again") from None
        if isinstance(error, EntryNotFoundError):
            raise HubError(f"{page}: a file is not there any more ({_said(error, known)})") from None
        raise HubError(f"{page}: {_said(error, known)}") from None
    except (HFValidationError, ValueError) as error:
        raise HubError(f"{hub_id}: {_said(error, known)}") from None
    except Exception as error:  # of whatever library makes the connection, and of the disk
        if isinstance(error, OSError) and error.errno is not None and not isinstance(error, ConnectionError):
            raise
        front = f"there is no file or folder {text}, and" if text else f"{hub_id}:"
        raise UnreachableError(
            f"{front} the hub at {constants.ENDPOINT} cannot be reached: {_said(error, known)}"
        ) from None


def _said(error: Exception, token: str | None) -> str:
    """What the library says, in a line, without the token."""
    text = str(error) or type(error).__name__
    if error.__cause__ is not None and str(error.__cause__) not in text:
        text = f"{text} ({error.__cause__})"
    return " ".join((text.replace(token, "…") if token else text).split())[:300]
