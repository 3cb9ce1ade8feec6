"""The classes of an account: one list for rows, reports, and the verifier, which has none of our code."""

import loyalty_verify

from projections.accounts.classes import (
    LOT_COLUMNS,
    MOVEMENTS,
    OUTSTANDING,
    PROMISE_CLASSES,
    AccountClass,
    class_columns,
)
from projections.accounts.tables import LOTS, AccountRow


def test_the_verifier_has_the_same_classes_and_signs() -> None:
    shown = {name.value: (name.value, name.sign) for name in AccountClass if name.sign}

    assert shown == loyalty_verify.CLASS_OF_COLUMN
    assert PROMISE_CLASSES == loyalty_verify.PROMISE_CLASSES
    assert OUTSTANDING == loyalty_verify.BALANCE_CLASSES
    assert set(LOT_COLUMNS.values()) == set(loyalty_verify.LOT_USE_COLUMNS)
    for column, names in loyalty_verify.CLASSES_OF_USE.items():
        assert [name for name, used in LOT_COLUMNS.items() if used == column] == sorted(names)


def test_every_class_is_a_column_or_a_part_of_one() -> None:
    assert class_columns({}).keys() < set(AccountRow._fields)
    assert set(AccountClass) - class_columns({}).keys() == {"available", *PROMISE_CLASSES} - {"promised"}
    assert set(LOT_COLUMNS.values()) < set(LOTS.columns)


def test_every_class_beside_the_outstanding_points_has_a_movement() -> None:
    assert set(AccountClass) - set(MOVEMENTS) == {*OUTSTANDING, *PROMISE_CLASSES} - {"promised"}
