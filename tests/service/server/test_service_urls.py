"""URLs of running services: each service removes only its own line, and the line of a killed one is not trusted."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.service_urls import ADDRESS_FILE, add_url, find_running_url, remove_url


@pytest.fixture
def listener() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_of_several_addresses_each_service_removes_its_own(tmp_path: Path) -> None:
    for url in ("http://127.0.0.1:1", "http://127.0.0.1:2", "http://127.0.0.1:3"):
        add_url(tmp_path, url)

    remove_url(tmp_path, "http://127.0.0.1:2")

    assert (tmp_path / ADDRESS_FILE).read_text() == "http://127.0.0.1:1\nhttp://127.0.0.1:3\n"


def test_the_last_address_takes_the_file_with_it(tmp_path: Path) -> None:
    add_url(tmp_path, "http://127.0.0.1:1")
    remove_url(tmp_path, "http://127.0.0.1:1")

    assert not (tmp_path / ADDRESS_FILE).exists()


def test_an_address_of_a_killed_service_is_passed_over(tmp_path: Path, listener: str) -> None:
    add_url(tmp_path, listener)
    add_url(tmp_path, "http://127.0.0.1:1")

    assert find_running_url(tmp_path) == listener


def test_where_nothing_listens_there_is_no_address(tmp_path: Path) -> None:
    (tmp_path / ADDRESS_FILE).write_text("http://127.0.0.1:1\nnonsense\n")

    assert find_running_url(tmp_path) is None
    assert find_running_url(tmp_path / "nowhere") is None
