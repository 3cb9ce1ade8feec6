"""The schedule of retries: exponential back-off with jitter, over days. Pure."""

from datetime import datetime, timedelta

RETRY_SECONDS = 5.0  # after the first failure
RETRY_SECONDS_MAX = 4 * 3600.0
DOUBLINGS_MAX = 30
JITTER = 0.5  # a pause is shorter by up to this part, so that many endpoints of one receiver spread


def retry_seconds(failures: int, random: float, asked_seconds: float | None = None) -> float:
    """Return the pause after so many failures in a row.

    `random` is between 0 and 1. `asked_seconds` is the pause that the receiver asks for by Retry-After. It is kept, up
    to RETRY_SECONDS_MAX.
    """
    seconds = min(RETRY_SECONDS * 2.0 ** min(max(0, failures - 1), DOUBLINGS_MAX), RETRY_SECONDS_MAX)
    seconds *= 1 - JITTER * random
    return max(seconds, min(asked_seconds or 0.0, RETRY_SECONDS_MAX))


def is_given_up(failing_since: datetime, now: datetime, days: float) -> bool:
    """Return True if an endpoint has failed without a success for so many days. It is then disabled."""
    return now - failing_since >= timedelta(days=days)
