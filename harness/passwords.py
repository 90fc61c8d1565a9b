"""Passwords kept out of what is shown and stored, in whatever form an address or a library's message holds them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import quote, quote_plus, unquote, unquote_plus

HIDDEN = "***"

_KEY = r"[^=&\s]*(?:pass|pwd|secret|token|key|credential|odbc_connect)[^=&\s]*"
_VALUE = r"""[^&\s]+?(?=[:.,;)'"]*(?:[&\s]|$))"""
_NO_QUERY = r"(?!\?[\w.-]+=)"
_ANYWHERE = (
    # As far as the last @ of the word: a password may hold one, or a slash, though it should not.
    (re.compile(rf"(://[^\s:/?]*):(?:{_NO_QUERY}\S)*@"), r"\1:***@"),
    # With blanks in it, as far as the last @ before the next slash. A port, and a colon in a sentence, begin none.
    (re.compile(rf"(://[^\s:/?]*):(?!\s|\d+(?:[\s:/,;.)'\"]|$))(?:{_NO_QUERY}[^/\n])*@"), r"\1:***@"),
    (re.compile(rf"([?&#]{_KEY}=){_VALUE}", re.IGNORECASE), r"\1***"),
    # As drivers of databases write it, who have no addresses.
    (re.compile(rf"\b(\w*passw(?:or)?d|pwd)(\s?=\s?)(?:'[^']*'|{_VALUE})", re.IGNORECASE), r"\1\2***"),
)
_IN_QUERY = re.compile(rf"([?&#]{_KEY}=)([^&]*)", re.IGNORECASE)
_WAS_HIDDEN = re.compile(r"[:=]\*{3}(?:[@&]|$)")
_SEPARATORS = re.compile(r"[@/?#:\[\]]")
_SHORT = 4
"""A password of fewer characters is looked for as a word of its own only: it may be a part of any other."""


def without_passwords(text: str, *addresses: str | None) -> str:
    """Return a text with `***` for every password in the addresses that it names.

    Args:
        addresses: those in use where the text comes from. What is secret in them is found for certain, by itself too,
            as in an error of a library; None stands for none.
    """
    for address in filter(None, addresses):
        parts = (_without_secrets(part, address) for part in text.split(address))
        text = shown_address(address).join(parts)
    for password, shown in _ANYWHERE:
        text = password.sub(shown, text)
    return text


def shown_address(address: str) -> str:
    """Return an address with `***` for its passwords; equal to it, if there are none."""
    if user_info := _user_info(address):
        before, password, after = user_info
        address = f"{before}{HIDDEN if password else ''}{after}"
    return _IN_QUERY.sub(rf"\1{HIDDEN}", address)


def is_hidden(address: str | None) -> bool:
    """Whether the password of an address was hidden, so that it leads nowhere."""
    return address is not None and _WAS_HIDDEN.search(address) is not None


def _user_info(address: str) -> tuple[str, str, str] | None:
    """Return what is before the password of an address, the password, and what is after it; None for no password."""
    scheme, mark, rest = address.partition("://")
    start = len(scheme) + len(mark) if mark else 0
    rest = rest if mark else address
    user, colon, tail = rest.partition(":")
    if not colon or set("/?") & set(user):
        return None
    end = re.split(r"\?[\w.-]+=", tail, maxsplit=1)[0].rfind("@")
    end = end if end >= 0 else tail.rfind("@")
    begin = start + len(user) + 1
    return (address[:begin], tail[:end], tail[end:]) if end >= 0 else None


def _secrets(address: str) -> Iterator[str]:
    """Yield what is secret in an address, as it stands there."""
    if user_info := _user_info(address):
        _, password, _ = user_info
        yield password
        # Where one should be quoted and is not, a library takes its parts for a host, a port or a path.
        yield from (password[: at.start()] for at in re.finditer("@", password))
        yield from (part for part in _SEPARATORS.split(password) if len(part) > 1)
    yield from (value for _, value in _IN_QUERY.findall(address))


def _without_secrets(text: str, address: str) -> str:
    """Hide what is secret in an address wherever it stands in a text, quoted as in an address or not."""
    forms: set[str] = set()
    for secret in _secrets(address):
        plain = {secret, unquote(secret), unquote_plus(secret)}
        forms |= plain | {make(each) for each in plain for make in (_all_quoted, quote, quote_plus, _escaped)}
    for form in sorted(forms - {"", HIDDEN}, key=len, reverse=True):
        found = re.escape(form) if len(form) >= _SHORT else rf"(?<!\w){re.escape(form)}(?!\w)"
        text = re.sub(found, HIDDEN, text)
    return text


def _all_quoted(text: str) -> str:
    return quote(text, safe="")


def _escaped(text: str) -> str:
    return repr(text)[1:-1]
