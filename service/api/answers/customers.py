"""Types of the answers about customers."""

from typing import Annotated, Any, NotRequired, TypedDict

from msgspec import Meta

from projections.accounts import ACCOUNTS
from projections.registry import PROJECTIONS
from service.api.answers.accounts import Account
from service.api.answers.fields import FRESH, answer_type, list_of, page_of
from service.api.answers.previews import Previewed, RecordedPosition
from service.api.answers.subjects import row_answer


def _rows_by_table() -> dict[str, Any]:
    return {
        projection.tables[0].name: list_of(Account if projection is ACCOUNTS else row_answer(projection.tables[0]))
        | None
        for projection in PROJECTIONS
        if projection.customers
    }


CustomerDetails: Any = answer_type(
    "CustomerDetails",
    {
        "id": str,
        "merged_into": Annotated[str | None, Meta(description="The customer that remains after all merges.")],
        **_rows_by_table(),
        "truncated": NotRequired[Annotated[list[str], Meta(description="The lists that were cut.")]],
        "rebuild_due": NotRequired[Annotated[list[str], Meta(description="The lists that wait for a rebuild.")]],
        **FRESH,
    },
    description="One customer with the rows of every projection that names customers.",
)


class CustomerFound(TypedDict):
    """A customer that was once named by the searched value."""

    id: str
    merged_into: NotRequired[str]


CustomerFoundPage = page_of(CustomerFound, **FRESH)


class Erasure(TypedDict):
    """The customers whose personal data were erased, and the number of destroyed keys."""

    customers: list[str]
    destroyed: int
    position: Annotated[
        int | None,
        Meta(description="The position of the erasure; null if nothing was left to erase, and in a dry run."),
    ]
    preview: NotRequired[Previewed]


class Unmerge(TypedDict):
    """The two customers of an undone merge."""

    customer: str
    survivor: str
    position: RecordedPosition
    preview: NotRequired[Previewed]
