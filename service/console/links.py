"""Addresses of the pages about one object."""

from collections.abc import Mapping
from typing import Any

from service.console.pages import console_href


def customer_link(customer: str | None) -> str | None:
    return None if customer is None else console_href("customers", customer)


def account_link(account: str) -> str:
    return console_href("accounts", account)


def event_link(position: int | None) -> str | None:
    return None if position is None else console_href("events", position)


def subject_link(path: str, subject: str) -> str:
    """Return the page of a subject of any projection. Subjects without a page of their own are explained."""
    if path in ("customer", "customers"):
        return console_href("customers", subject)
    if path in ("account", "accounts"):
        return account_link(subject)
    if path == "event":
        return console_href("events", subject)
    return console_href("explain", path, subject)


def link_of(column: str) -> Any:
    """Return a function from a row to the page of the event whose position is in a column."""

    def link(row: Mapping[str, Any]) -> str | None:
        return event_link(row.get(column))

    return link
