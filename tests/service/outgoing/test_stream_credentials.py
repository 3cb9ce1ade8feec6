"""Credentials of streams: they are read from files, checked before they are stored, and given to the clients."""

from pathlib import Path

import pytest
from confluent_kafka import Producer

from ledger.errors import RequestInvalid
from service.outgoing.sinks.kafka_sink import producer_options
from service.outgoing.sinks.stream_addresses import parse_stream_address
from service.outgoing.sinks.stream_credentials import StreamCredentials, check_credentials, read_credentials_file
from tests.service.outgoing.certificates import make_certificates

NATS = parse_stream_address("nats+tls://nats.example")
KAFKA = parse_stream_address("kafka+tls://kafka.example:9093?mechanism=SCRAM-SHA-512")
PLAIN = parse_stream_address("nats://nats.example")


def test_a_file_names_values_and_further_files(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("p a s s\n")
    (tmp_path / "stream.toml").write_text('user = "loyalty"\npassword_file = "password"\n')

    assert read_credentials_file(tmp_path / "stream.toml") == StreamCredentials(user="loyalty", password="p a s s")


@pytest.mark.parametrize(
    "text", ["user =", 'users = "x"', "user = 1", 'user = "x"\nuser_file = "y"', 'password_file = "missing"']
)
def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "stream.toml").write_text(text)

    with pytest.raises(RequestInvalid):
        read_credentials_file(tmp_path / "stream.toml")


@pytest.mark.parametrize(
    "given",
    [
        {"user": "x"}, {"password": "x"}, {"user": "x", "password": "y", "token": "z"}, {"certificate": "x"},
        {"ca": "no certificate"}, {"user": "x", "password": "\0"}, {"token": "x" * 64_001},
    ],
)  # fmt: skip
def test_credentials_that_do_not_fit_together_are_refused(given: dict[str, str]) -> None:
    with pytest.raises(RequestInvalid):
        check_credentials(StreamCredentials(**given), NATS)


def test_certificates_need_tls_and_a_token_needs_nats(tmp_path: Path) -> None:
    made = make_certificates(tmp_path)
    certificates = StreamCredentials(
        ca=made.ca_file.read_text(), certificate=made.client_file.read_text(), key=made.client_key_file.read_text()
    )

    check_credentials(certificates, NATS)
    with pytest.raises(RequestInvalid, match=r"\+tls"):
        check_credentials(certificates, PLAIN)
    with pytest.raises(RequestInvalid, match="for NATS"):
        check_credentials(StreamCredentials(token="x"), KAFKA)


def test_a_key_of_another_certificate_is_refused(tmp_path: Path) -> None:
    made = make_certificates(tmp_path)
    mixed = StreamCredentials(certificate=made.client_file.read_text(), key=made.server_key_file.read_text())

    with pytest.raises(RequestInvalid, match="belong together"):
        check_credentials(mixed, NATS)


def test_the_client_of_kafka_accepts_the_options_of_all_credentials(tmp_path: Path) -> None:
    made = make_certificates(tmp_path)
    given = StreamCredentials(
        user="loyalty", password="p", ca=made.ca_file.read_text(), certificate=made.client_file.read_text(),
        key=made.client_key_file.read_text(),
    )  # fmt: skip
    options = producer_options(KAFKA, given)

    assert Producer(dict(options)) is not None  # librdkafka reads the certificates and the mechanism
    assert (options["security.protocol"], options["sasl.mechanism"]) == ("SASL_SSL", "SCRAM-SHA-512")
    assert options["enable.idempotence"] is True
    assert producer_options(KAFKA._replace(uses_tls=False), StreamCredentials())["security.protocol"] == "PLAINTEXT"
