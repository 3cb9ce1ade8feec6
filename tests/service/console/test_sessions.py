"""Sessions of the console: what a cookie holds, how long it lasts, and who can make one."""

from datetime import timedelta

import pytest

from ledger import clock
from ledger.errors import BadCredentials
from ledger.privacy.encryption import MasterKey
from service.console.sessions import ONE_TIME_DURATION, SESSION_DURATION, SessionKeeper

KEEPER = SessionKeeper(MasterKey(bytes(range(32))))


def pass_time(monkeypatch: pytest.MonkeyPatch, passed: timedelta) -> None:
    now = clock.now()
    monkeypatch.setattr(clock, "now", lambda: now + passed)


def test_a_session_is_read_by_any_process_with_the_master_key() -> None:
    cookie = KEEPER.open("ll_key")

    assert SessionKeeper(MasterKey(bytes(range(32)))).read(cookie).key == "ll_key"


def test_a_session_shows_nothing_of_its_key() -> None:
    assert "ll_key" not in KEEPER.open("ll_key")
    assert KEEPER.open("ll_key") != KEEPER.open("ll_key")


def test_a_session_ends_after_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    cookie = KEEPER.open("ll_key")

    pass_time(monkeypatch, SESSION_DURATION)

    with pytest.raises(BadCredentials):
        KEEPER.read(cookie)


@pytest.mark.parametrize("changed", ["", "x", "AAAA", "\N{SNOWMAN}"])
def test_a_made_up_cookie_opens_nothing(changed: str) -> None:
    with pytest.raises(BadCredentials):
        KEEPER.read(changed)


def test_a_changed_cookie_opens_nothing() -> None:
    cookie = KEEPER.open("ll_key")

    for place in range(0, len(cookie) - 2, 7):
        letter = "A" if cookie[place] != "A" else "B"
        with pytest.raises(BadCredentials):
            KEEPER.read(cookie[:place] + letter + cookie[place + 1 :])


def test_another_master_key_reads_no_session() -> None:
    with pytest.raises(BadCredentials):
        SessionKeeper(MasterKey(bytes(32))).read(KEEPER.open("ll_key"))


def test_a_one_time_token_signs_in_once() -> None:
    token = KEEPER.make_one_time_token("ll_key")

    assert KEEPER.use_one_time_token(token) == "ll_key"
    with pytest.raises(BadCredentials):
        KEEPER.use_one_time_token(token)


def test_a_one_time_token_ends_after_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    token = KEEPER.make_one_time_token("ll_key")

    pass_time(monkeypatch, ONE_TIME_DURATION)

    with pytest.raises(BadCredentials):
        KEEPER.use_one_time_token(token)


def test_a_one_time_token_is_no_session_and_a_session_no_token() -> None:
    with pytest.raises(BadCredentials):
        KEEPER.read(KEEPER.make_one_time_token("ll_key"))
    with pytest.raises(BadCredentials):
        KEEPER.use_one_time_token(KEEPER.open("ll_key"))


def test_a_form_token_is_bound_to_its_session() -> None:
    token = KEEPER.form_token("one session")

    assert KEEPER.is_form_token(token, "one session")
    assert not KEEPER.is_form_token(token, "another session")
    assert not KEEPER.is_form_token("", "one session")
    assert not KEEPER.is_form_token("\N{SNOWMAN}", "one session")
