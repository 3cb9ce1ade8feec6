"""Capillary's alternate currencies: issued, taken back, converted from promised to spendable (document 003).

A currency is a unit of points; the unit is the currency's identifier. One event may report several currencies. The
samples have no time, so the recorded time is used. Older and newer deliveries name the list of currencies differently.
"""

from collections.abc import Iterator
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from ledger.facts import Fact
from ledger.facts.accounts import (
    Claim,
    EarningActivity,
    Grant,
    Issued,
    IssueReversed,
    Promise,
    PromisedConverted,
    PromotionShare,
)
from ledger.vendors.capillary.enums import EmptyIfNull
from ledger.vendors.capillary.people import CustomerEvent
from ledger.vendors.capillary.redemptions import bill_totals, reversal_names, stated_or_zero
from ledger.vendors.fields import (
    Day,
    DetailList,
    Figure,
    FigureOrZero,
    Id,
    List,
    OptionalId,
    Points,
    Text,
    VendorModel,
    is_stated,
)
from ledger.vendors.leniency import facts_of_each
from ledger.vendors.vendor import EventContext, EventType

ZERO = Decimal(0)
NO_PROGRAMME = "0"  # the vendor's value if the programmes are in the breakup
NO_BILL = "0"


class RegularLine(VendorModel):
    alternate_currencies: Points = ZERO
    expiry_at: Day = None


class PromotionalLine(VendorModel):
    promotion_identifier: OptionalId = None
    promotion_alternate_currencies: Points = ZERO
    promotion_alternate_currencies_expiry_date: Day = None


class PromisedLine(VendorModel):
    promised_alternate_currencies: Points = ZERO
    promised_alternate_currencies_conversion_date: Day = None
    is_external_trigger_based: bool = False
    promotion_identifier: OptionalId = None


class IssuedCurrency(VendorModel):
    alternate_currency_identifier: Id
    alternate_currency_name: Text = None
    program_current_alternate_currencies: Figure = None
    program_lifetime_alternate_currencies: Figure = None
    total_alternate_currencies_issued: Figure = None
    total_stated: Annotated[
        bool, Field(validation_alias="totalAlternateCurrenciesIssued"), BeforeValidator(is_stated)
    ] = False
    regular_alternate_currencies_breakup: Annotated[tuple[RegularLine, ...], List] = ()
    promotional_alternate_currencies_issued: Annotated[tuple[PromotionalLine, ...], List] = ()
    promised_alternate_currencies_issued: Annotated[tuple[PromisedLine, ...], List] = ()

    def grants(self) -> list[Grant]:
        """Return the lots of the breakup. If the total exceeds lots and promises, the rest is one more lot.

        Unlike the total of points, this total includes promised points: 130 = 10 + 110 + 10 promised (trap 2).
        """
        grants = [
            Grant(line.alternate_currencies, line.expiry_at)
            for line in self.regular_alternate_currencies_breakup
            if line.alternate_currencies
        ]
        grants += [
            Grant(
                line.promotion_alternate_currencies,
                line.promotion_alternate_currencies_expiry_date,
                "promotional",
                line.promotion_identifier,
            )
            for line in self.promotional_alternate_currencies_issued
            if line.promotion_alternate_currencies
        ]
        rest = (self.total_alternate_currencies_issued or ZERO) - sum((grant.points for grant in grants), ZERO)
        rest -= sum((promise.points for promise in self.promises()), ZERO)
        return [*grants, Grant(rest, None, "unallocated")] if rest > 0 else grants

    def promises(self) -> list[Promise]:
        return [
            Promise(
                line.promised_alternate_currencies,
                line.promised_alternate_currencies_conversion_date,
                line.is_external_trigger_based,
                line.promotion_identifier,
            )
            for line in self.promised_alternate_currencies_issued
            if line.promised_alternate_currencies
        ]

    def claim(self) -> Claim | None:
        """Return the balances that the event states.

        Return None if the event promises points. Then the vendor's balance includes points that cannot be spent (trap
        2). It would become a wrong opening balance.
        """
        if self.promises():
            return None
        return Claim(self.program_current_alternate_currencies, self.program_lifetime_alternate_currencies)


class AlternateCurrenciesIssued(CustomerEvent):
    loyalty_program_id: Id
    alternate_currencies: Annotated[tuple[IssuedCurrency, ...], List] = ()
    alternate_currencies_issued_data: Annotated[tuple[IssuedCurrency, ...], List] = ()


def alternate_currencies_issued(event: AlternateCurrenciesIssued, context: EventContext) -> list[Fact]:
    """Return one fact for each currency. Lots come from the breakups; promised points are separate (trap 2)."""
    currencies = event.alternate_currencies or event.alternate_currencies_issued_data
    return facts_of_each(currencies, lambda currency: [_issued_currency(event, currency, context)])


def _issued_currency(event: AlternateCurrenciesIssued, currency: IssuedCurrency, context: EventContext) -> Issued:
    """Return the fact of one currency. Raises ValueError if no number of its points can be read."""
    grants, promises = currency.grants(), currency.promises()
    unreadable = currency.total_stated and currency.total_alternate_currencies_issued is None
    if unreadable and not (grants or promises):
        raise ValueError("no number of points issued")
    activity = event.triggering_activity
    return Issued(
        holder=event.holder(context),
        programme=event.loyalty_program_id,
        unit=currency.alternate_currency_identifier,
        customer=event.customer(context),
        claim=currency.claim(),
        ratio=event.ratio,
        unit_name=currency.alternate_currency_name,
        grants=tuple(grants),
        promises=tuple(promises),
        activity=activity.name,
        bill=_bill_id(event),
        bill_number=activity.identifier("billnumber"),
        **event.envelope.change_fields(context, *_change_parts(event, currency.alternate_currency_identifier)),
    )


class ReversedCurrency(VendorModel):
    alternate_currency_identifier: Id
    alternate_currency_name: Text = None
    program_current_alternate_currencies: Figure = None
    program_lifetime_alternate_currencies: Figure = None
    current_event_total_alternate_currencies_returned: Figure = None
    current_event_promised_alternate_currencies_returned: FigureOrZero = None
    total_alternate_currencies_reversed: Figure = None
    total_issued_alternate_currencies_reversed: Figure = None
    promised_alternate_currencies_reversed: FigureOrZero = None
    promotional_alternate_currencies_reversed: Annotated[tuple[PromotionalLine, ...] | None, DetailList] = None
    current_event_promotion_alternate_currencies_returned_details: Annotated[
        tuple[PromotionalLine, ...] | None, DetailList
    ] = None

    def returned(self) -> tuple[Decimal, Decimal] | None:
        """Return the points and the promised points that this event takes back. None if only totals can be read."""
        promised = stated_or_zero(self, "current_event_promised_alternate_currencies_returned")
        total = self.current_event_total_alternate_currencies_returned
        return None if total is None or promised is None else (total - promised, promised)

    def total(self) -> Decimal | None:
        """Return the points taken back for the bill so far. Older and newer events name the field differently."""
        total = self.total_alternate_currencies_reversed
        return self.total_issued_alternate_currencies_reversed if total is None else total


class IssuedAlternateCurrenciesReversed(CustomerEvent):
    loyalty_program_id: Id
    alternate_currencies: Annotated[tuple[ReversedCurrency, ...], List] = ()
    alternate_currencies_reversed_data: Annotated[tuple[ReversedCurrency, ...], List] = ()


def issued_alternate_currencies_reversed(event: IssuedAlternateCurrenciesReversed, context: EventContext) -> list[Fact]:
    """As with points (traps 2, 4): use the current event's figures, if any, and keep the bill's totals. Both include
    promised points.
    """
    currencies = event.alternate_currencies or event.alternate_currencies_reversed_data
    return facts_of_each(currencies, lambda currency: [_reversed_currency(event, currency, context)])


def _reversed_currency(
    event: IssuedAlternateCurrenciesReversed, currency: ReversedCurrency, context: EventContext
) -> IssueReversed:
    """Return the fact of one currency. Raises ValueError if no number of its points can be read."""
    current = currency.returned()
    bill_number = event.triggering_activity.identifier("billnumber")
    return IssueReversed(
        holder=event.holder(context),
        programme=event.loyalty_program_id,
        unit=currency.alternate_currency_identifier,
        customer=event.customer(context),
        claim=Claim(currency.program_current_alternate_currencies, currency.program_lifetime_alternate_currencies),
        ratio=event.ratio,
        unit_name=currency.alternate_currency_name,
        points=current and current[0],
        promised=current and current[1],
        **bill_totals(currency, currency.total(), "promised_alternate_currencies_reversed", current),
        promotions=_promotion_shares(currency.current_event_promotion_alternate_currencies_returned_details),
        promotions_total=_promotion_shares(currency.promotional_alternate_currencies_reversed),
        bill=_bill_id(event),
        bill_number=bill_number,
        **reversal_names(
            event,
            context,
            _bill_id(event) or bill_number,
            *_change_parts(event, currency.alternate_currency_identifier),
        ),
    )


def _promotion_shares(promotions: tuple[PromotionalLine, ...] | None) -> tuple[PromotionShare, ...] | None:
    """Return the parts that promotions granted, None if the vendor does not state them."""
    if promotions is None or any(line.promotion_alternate_currencies < 0 for line in promotions):
        return None
    return tuple(PromotionShare(line.promotion_alternate_currencies, line.promotion_identifier) for line in promotions)


class ConvertedLine(VendorModel):
    alternate_currency_identifier: Id
    alternate_currency_name: Text = None
    alternate_currency_value: Points = ZERO
    program_id: OptionalId = None
    promotion_id: OptionalId = None


class ConvertedEntity(VendorModel):
    bill_number: OptionalId = None


class ConvertedBreakup(VendorModel):
    alternate_currency_entity_details: Annotated[ConvertedEntity, EmptyIfNull] = ConvertedEntity()
    promotional_alternate_currency_breakup: Annotated[tuple[ConvertedLine, ...], List] = ()
    non_promotional_alternate_currency_breakup: Annotated[tuple[ConvertedLine, ...], List] = ()


class PromisedToCurrentAlternateCurrency(CustomerEvent):
    loyalty_program_id: OptionalId = None
    alternate_currency_converted: Annotated[tuple[ConvertedLine, ...], List]
    alternate_currency_converted_breakup: Annotated[tuple[ConvertedBreakup, ...], List] = ()
    alternate_currency_conversion_source: Text = None

    def lines(self, unit: str) -> Iterator[tuple[ConvertedLine, str | None]]:
        """Yield the lines of one currency, each with the number of the bill for which it was promised."""
        for breakup in self.alternate_currency_converted_breakup:
            bill_number = breakup.alternate_currency_entity_details.bill_number
            for line in (
                *breakup.promotional_alternate_currency_breakup,
                *breakup.non_promotional_alternate_currency_breakup,
            ):
                if line.alternate_currency_identifier == unit:
                    yield line, bill_number


def promised_to_current_alternate_currency(
    event: PromisedToCurrentAlternateCurrency, context: EventContext
) -> list[Fact]:
    """Return one fact for each currency, programme and bill of the breakup.

    Without a breakup of a currency, its total belongs to the programme at the top.
    """
    return facts_of_each(event.alternate_currency_converted, lambda total: _converted_currency(event, total, context))


def _converted_currency(
    event: PromisedToCurrentAlternateCurrency, total: ConvertedLine, context: EventContext
) -> list[Fact]:
    """Return the facts of one currency. Raises ValueError if no programme is named."""
    unit = total.alternate_currency_identifier
    grants: dict[tuple[str, str | None], list[Grant]] = {}
    for line, bill_number in list(event.lines(unit)) or [(total, None)]:
        programme = line.program_id or event.loyalty_program_id
        if programme is None or programme == NO_PROGRAMME:
            raise ValueError("no programme")
        grant = Grant(line.alternate_currency_value, None, "converted", line.promotion_id)
        grants.setdefault((programme, bill_number), []).append(grant)
    return [
        PromisedConverted(
            holder=event.holder(context),
            programme=programme,
            unit=unit,
            customer=event.customer(context),
            unit_name=total.alternate_currency_name,
            grants=tuple(granted),
            bill_number=bill_number,
            activities=(EarningActivity(bill_number=bill_number),) if bill_number else (),
            trigger=event.alternate_currency_conversion_source,
            **event.envelope.change_fields(context, programme, unit, bill_number),
        )
        for (programme, bill_number), granted in grants.items()
    ]


def _change_parts(
    event: AlternateCurrenciesIssued | IssuedAlternateCurrenciesReversed, unit: str
) -> tuple[str | None, ...]:
    """Return the parts that distinguish changes of one loyalty event: programme, currency, bill and its line."""
    activity = event.triggering_activity
    lines = tuple(activity.identifier(name) for name in ("billlineitemid", "lineitemid"))
    return (event.loyalty_program_id, unit, _bill_id(event), activity.identifier("billnumber"), *lines)


def _bill_id(event: CustomerEvent) -> str | None:
    """Return the bill's id. Bill 0 means no bill (trap 32)."""
    bill = event.triggering_activity.identifier("billid")
    return None if bill == NO_BILL else bill


KINDS: dict[str, EventType[Any]] = {
    "alternateCurrenciesIssued": EventType(AlternateCurrenciesIssued, alternate_currencies_issued),
    "issuedAlternateCurrenciesReversed": EventType(
        IssuedAlternateCurrenciesReversed, issued_alternate_currencies_reversed
    ),
    "promisedToCurrentAlternateCurrencyConversion": EventType(
        PromisedToCurrentAlternateCurrency, promised_to_current_alternate_currency
    ),
}
