"""Which secrets and headers a connection takes, and which are refused when they are given."""

import base64

import pytest
from standardwebhooks import Webhook

from ledger.credentials import SCHEMES, check_header, check_secret, make_secret, standard_key
from ledger.database import Connection
from ledger.errors import RequestInvalid
from ledger.privacy.encryption import MasterKey
from ledger.store import api_keys, registry
from ledger.store.registry import Ledger

MASTER_KEY = MasterKey(bytes(range(32)))
KEY = bytes(range(200, 232))
PADDED = base64.b64encode(KEY).decode()
STATIC_REFUSED = [
    "",
    " ",
    "\t\n",
    "short",
    " begins-with-a-blank",
    "ends-with-a-line-end\n",
    "ends-with-a-line-end\r\n",
    "holds-a-\x00-nul-character",
    "holds-a-\ttab-character",
    "holds-an-umlaut-\u00fc",
    '"stands-in-quotes"',
    "'stands-in-quotes'",
    "x" * 1_001,
]
STANDARD_REFUSED = [
    "",
    " ",
    "whsec_",
    "whsec_ ",
    "whsec_=",
    "whsec_====",
    "v1,whsec_" + PADDED,
    "whsk_" + PADDED,
    "whpk_" + PADDED,
    "WHSEC_" + PADDED,
    "whsec_whsec_" + PADDED,
    "whsec_" + PADDED + "\n",
    "whsec_" + PADDED + "=",
    "whsec_" + PADDED[:-3],
    " whsec_" + PADDED,
    "whsec_ " + PADDED,
    f'"whsec_{PADDED}"',
    f"'{PADDED}'",
    "whsec_" + base64.b64encode(bytes(23)).decode(),
    "whsec_" + base64.b64encode(bytes(65)).decode(),
    "whsec_" + base64.urlsafe_b64encode(bytes([251] * 32)).decode(),
    "whsec_" + PADDED[:20] + "\n" + PADDED[20:],
    "whsec_" + PADDED[:20] + "." + PADDED[20:],
    "a text of thirty-two characters!",
]


@pytest.mark.parametrize("spelling", ["whsec_" + PADDED, PADDED, "whsec_" + PADDED.rstrip("="), PADDED.rstrip("=")])
def test_the_spellings_that_the_published_library_reads_alike_give_the_same_key(spelling: str) -> None:
    assert standard_key(spelling) == KEY == Webhook(spelling)._whsecret
    assert check_secret("standard-webhooks", spelling) == spelling.encode()


@pytest.mark.parametrize("size", [24, 25, 26, 32, 63, 64])
def test_a_key_of_24_to_64_bytes_is_taken(size: int) -> None:
    assert standard_key("whsec_" + base64.b64encode(bytes(size)).decode()) == bytes(size)


@pytest.mark.parametrize("secret", STANDARD_REFUSED)
def test_what_is_no_secret_of_standard_webhooks_is_refused_without_being_quoted(secret: str) -> None:
    with pytest.raises(RequestInvalid) as refused:
        check_secret("standard-webhooks", secret)

    assert PADDED[:20] not in str(refused.value)


@pytest.mark.parametrize("scheme", ["header", "voucherify"])
@pytest.mark.parametrize("secret", STATIC_REFUSED)
def test_a_secret_that_no_header_carries_or_anybody_guesses_is_refused(scheme: str, secret: str) -> None:
    with pytest.raises(RequestInvalid, match="the secret"):
        check_secret(scheme, secret)


@pytest.mark.parametrize("secret", ["Basic dXNlcjpwYXNzd29yZA==", "a1b2c3d4", "with blank inside", "~!@#$%^&*()"])
def test_a_secret_that_a_vendor_may_send_in_a_header_is_taken(secret: str) -> None:
    assert check_secret("header", secret) == secret.encode()


@pytest.mark.parametrize("scheme", ["header", "standard-webhooks"])
def test_a_secret_that_we_make_passes_the_check_and_is_a_new_one(scheme: str) -> None:
    made = {make_secret(scheme) for _ in range(20)}

    assert len(made) == 20
    assert all(check_secret(scheme, one) for one in made)
    assert all(one.startswith("whsec_") for one in made) is (scheme == "standard-webhooks")


@pytest.mark.parametrize("header", ["", "with blank", "colon:", "line\nend", "ü", "x" * 101])
def test_what_cannot_be_the_name_of_a_header_is_refused(header: str) -> None:
    with pytest.raises(RequestInvalid, match="not a valid header name"):
        check_header("header", header, "x-webhook-secret")


@pytest.mark.parametrize("header", ["Host", "content-type", "Content-Length", "Expect", "webhook-id", "User-Agent"])
def test_a_header_that_means_something_else_is_refused(header: str) -> None:
    with pytest.raises(RequestInvalid, match="has another meaning"):
        check_header("header", header, "x-webhook-secret")


@pytest.mark.parametrize("scheme", [name for name, scheme in SCHEMES.items() if scheme.header])
def test_a_scheme_that_names_its_header_takes_no_other(scheme: str) -> None:
    assert check_header(scheme, None, "x-webhook-secret") == SCHEMES[scheme].header
    assert check_header(scheme, str(SCHEMES[scheme].header).upper(), "x") == SCHEMES[scheme].header
    with pytest.raises(RequestInvalid, match="leave out"):
        check_header(scheme, "x-other", "x-webhook-secret")


async def test_voucherify_makes_its_secret_so_none_is_made_for_it(connection: Connection, ledger: Ledger) -> None:
    with pytest.raises(RequestInvalid, match="the vendor makes the secret"):
        await registry.create_connection(connection, MASTER_KEY, ledger, source="voucherify")

    of = await registry.create_connection(
        connection, MASTER_KEY, ledger, source="voucherify", secret="shown-by-voucherify"
    )
    with pytest.raises(RequestInvalid, match="the vendor makes the secret"):
        await registry.add_secret(connection, MASTER_KEY, of)


@pytest.mark.parametrize("scheme", ["header", "voucherify", "standard-webhooks"])
async def test_a_rotation_checks_its_secret_as_a_new_connection_does(
    connection: Connection, ledger: Ledger, scheme: str
) -> None:
    first = "whsec_" + PADDED
    of = await registry.create_connection(
        connection, MASTER_KEY, ledger, source="capillary", scheme=scheme, secret=first
    )

    for refused in (STANDARD_REFUSED if scheme == "standard-webhooks" else STATIC_REFUSED) + [first]:
        with pytest.raises(RequestInvalid):
            await registry.add_secret(connection, MASTER_KEY, of, refused)

    now = await registry.find_connection(connection, MASTER_KEY, of.connection_id)
    assert now.secrets == (first.encode(),)


@pytest.mark.parametrize(
    ("source", "kind", "stored"),
    [
        ("voucherify", "Redemption.Succeeded", "redemption.succeeded"),
        ("voucherify", "nonsense.kind", None),
        ("voucherify", "", None),
        ("capillary", "pointsissued", "pointsIssued"),
        ("capillary", "redemption.succeeded", None),
        ("fabric", "nonsense", None),
    ],
)
async def test_a_kind_that_the_vendor_does_not_send_is_refused_with_those_it_does(
    connection: Connection, ledger: Ledger, source: str, kind: str, stored: str | None
) -> None:
    async def create() -> str | None:
        of = await registry.create_connection(
            connection, MASTER_KEY, ledger, source=source, kind=kind, secret="shown-by-the-vendor"
        )
        return of.kind

    if stored is not None:
        assert await create() == stored
    else:
        with pytest.raises(RequestInvalid, match=f"{source} has no kind"):
            await create()


async def test_a_scope_that_opens_nothing_is_refused(connection: Connection, ledger: Ledger) -> None:
    with pytest.raises(RequestInvalid, match="a scope must be one of read, audit, reveal, admin, operator"):
        await api_keys.create_key(connection, MASTER_KEY, ledger, ["ingest"])


@pytest.mark.parametrize("label", ["jane.roe@example.com", "call +91 98765 43210", "4111 1111 1111 1111"])
async def test_a_label_with_a_personal_value_is_refused(connection: Connection, ledger: Ledger, label: str) -> None:
    with pytest.raises(RequestInvalid, match="must not hold personal data"):
        await api_keys.create_key(connection, MASTER_KEY, ledger, ["read"], label=label)
    with pytest.raises(RequestInvalid, match="must not hold personal data"):
        await registry.create_connection(connection, MASTER_KEY, ledger, source="capillary", label=label)
