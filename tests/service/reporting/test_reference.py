"""The published list of report views is the list of this version."""

from service.reporting.reference import REFERENCE, reference_text


def test_the_published_list_names_every_view_and_column_of_this_version() -> None:
    assert REFERENCE.read_text() == reference_text(), "run python -m service.reporting.reference"
