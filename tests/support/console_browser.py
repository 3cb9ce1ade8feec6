"""A browser's part of the console's tests without a browser: it signs in, keeps the cookie, and sends forms."""

import re
from typing import Any

from aiohttp.test_utils import TestClient

ORIGIN = {"Sec-Fetch-Site": "same-origin"}


class Browser:
    """One browser at the console. It keeps the cookie of its session by hand, so that tests see it."""

    def __init__(self, client: "TestClient[Any, Any]") -> None:
        self.client = client
        self.cookie = ""

    async def get(self, path: str, **headers: str) -> tuple[int, str]:
        """GET a page, without following redirects. Return the status, and the page or the place of the redirect."""
        response = await self.client.get(path, headers={**self._cookie(), **headers}, allow_redirects=False)
        return response.status, response.headers.get("Location") or await response.text()

    async def post(self, path: str, fields: dict[str, str], **headers: str) -> tuple[int, str]:
        """Send a form. Return the status, and the page or the place of the redirect."""
        sent = {**self._cookie(), **(headers or ORIGIN)}
        response = await self.client.post(path, data=fields, headers=sent, allow_redirects=False)
        if "Set-Cookie" in response.headers:
            self.set_cookie = response.headers["Set-Cookie"]
            self.cookie = self.set_cookie.partition(";")[0]
        return response.status, response.headers.get("Location") or await response.text()

    async def sign_in(self, key: str, **fields: str) -> tuple[int, str]:
        """Sign in with a key."""
        return await self.post("/console/login", {"key": key, "token": await self.token("/console/login"), **fields})

    async def token(self, path: str) -> str:
        """Return the token that the forms of a page carry."""
        _, text = await self.get(path)
        found = re.search(r'name="token" value="([0-9a-f]{64})"', text)
        assert found is not None, text
        return found.group(1)

    def _cookie(self) -> dict[str, str]:
        return {"Cookie": self.cookie} if self.cookie else {}
