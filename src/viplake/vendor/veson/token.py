"""I/O. The access token: one request for all waiting callers, held in memory, renewed before it expires.

The vendor's token lives 60 minutes, an Hour's run about 30, a Glue job may wait in between. So a token is
renewed when fewer than 120 seconds are left, by a clock that never jumps, and when the vendor refuses it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

import structlog

from viplake.errors import CredentialsError, NetworkError, VendorError
from viplake.network.retry import pause
from viplake.redact import Secret
from viplake.vendor.veson.answers import NotJson, Token, read_token

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable

    from viplake.clock import Clock
    from viplake.vendor.http import Http

RENEW_EARLY: Final = 120.0
"""Seconds before its end that a token is no longer used."""

_CAP: Final = 64 * 1024
_PATIENCE: Final = 60.0
"""Seconds that server errors are borne before the driver hears of them."""

_FEW_TRIES: Final = 4
"""For what is either over in seconds or lasts: a web page in place of JSON, no network."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class VendorCredentials:
    """Client id and client secret.

    Attributes:
        client_id: of OAuth.
        client_secret: of OAuth; also the `apiToken` of the files call.
    """

    client_id: Secret
    client_secret: Secret


class Authorization:
    """The tokens of one client.

    Args:
        http: an open session.
        url: of call 1.
        credentials: of the client; called with `fresh=True` to read the secret anew.
    """

    def __init__(
        self,
        http: Http,
        url: str,
        credentials: Callable[..., Awaitable[VendorCredentials]],
        *,
        clock: Clock,
        rng: random.Random,
    ) -> None:
        self._http = http
        self._url = url
        self._credentials = credentials
        self._clock = clock
        self._rng = rng
        self._token: Token | None = None
        self._accepted: Secret | None = None
        self._good_until = 0.0
        self._renewal: asyncio.Task[Secret] | None = None

    async def token(self, *, refused: Secret | None = None) -> Secret:
        """A token that is good for the next minutes; another one than `refused`.

        Raises:
            CredentialsError, VendorError, NetworkError: why there is none.
        """
        if self._token and self._token.value != refused and self._clock.monotonic() < self._good_until:
            return self._token.value
        if self._renewal is None:
            self._renewal = asyncio.create_task(self._renew())
            self._renewal.add_done_callback(self._renewed)
        # Shielded: one waiter that gives up must not take the token from the others.
        return await asyncio.shield(self._renewal)

    def has_accepted(self, client_secret: Secret) -> bool:
        """Whether the last token was given for this secret."""
        return self._accepted == client_secret

    async def close(self) -> None:
        """Give up a renewal that is under way."""
        if self._renewal:
            self._renewal.cancel()
            await asyncio.gather(self._renewal, return_exceptions=True)

    def _renewed(self, task: asyncio.Task[Secret]) -> None:
        self._renewal = None
        if not task.cancelled():
            task.exception()  # seen, though all waiters may be gone

    async def _renew(self) -> Secret:
        requested_at = self._clock.monotonic()
        try:
            token = await self._fetch(fresh=False)
        except CredentialsError as error:
            if error.cause.word != "auth_rejected":
                raise
            token = None  # the secret may have been rotated: read it anew, once, outside this handler
        if token is None:
            log.info("the vendor refused our credentials; reading the secret again")
            token = await self._fetch(fresh=True)
        self._token = token
        self._good_until = requested_at + token.lifetime - min(RENEW_EARLY, token.lifetime / 2)
        return token.value

    async def _fetch(self, *, fresh: bool) -> Token:
        """One token; patient with what passes."""
        credentials = await (self._credentials(fresh=True) if fresh else self._credentials())
        give_up = self._clock.monotonic() + _PATIENCE
        attempt = 0
        while True:
            attempt += 1
            try:
                token = await self._ask(credentials)
            except (VendorError, NetworkError) as error:
                seconds = pause(attempt, self._rng, getattr(error, "retry_after", None))
                few = isinstance(error, NotJson | NetworkError)
                lasting = not error.transient and not isinstance(error, NotJson)
                late = self._clock.monotonic() + seconds > give_up
                if lasting or late or (few and attempt >= _FEW_TRIES):
                    raise
                log.warning("no token yet", cause=error.cause.word, reason=error.message, seconds=round(seconds, 1))
            else:
                self._accepted = credentials.client_secret
                return token
            await self._clock.sleep(seconds)

    async def _ask(self, credentials: VendorCredentials) -> Token:
        answer = await self._http.call(
            "token",
            "POST",
            self._url,
            seconds=self._http.network.timeouts.token,
            cap=_CAP,
            headers={"Content-Type": "application/x-www-form-urlencoded"},
            body=_form(credentials),
        )
        return read_token(answer, self._clock.now())


def _form(credentials: VendorCredentials) -> Secret:
    fields = {
        "grant_type": "client_credentials",
        "scope": "datalake",
        "client_id": credentials.client_id.reveal(),
        "client_secret": credentials.client_secret.reveal(),
    }
    return Secret(urlencode(fields), remember=False)
