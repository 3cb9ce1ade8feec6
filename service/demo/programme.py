"""Simulate one year of the programme: members join, buy, spend, return, transfer and lapse; some deliveries go wrong.

The simulation is deterministic: equal arguments give equal bytes. Claims are the vendor's true balances. So drift
appears only where a fault is listed in FAULTS (members.py).
"""

import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from random import Random

from service.demo import vendor_bodies as bodies
from service.demo.members import FAULTS, HALF_TRANSFERS, MERGES, TRANSFERS, Member, MemberState, make_members
from service.demo.vendor_bodies import SimulatedDelivery, activity, capillary, points_data

DAYS = 380
STORES = ("Harbour Street", "Old Market", "Central Station", "North Mall", "Online")
PARTNERS = ("Skyway Miles", "Nordic Rail Points", "Atlas Hotels Points")
BADGE = "650c0896aefcde237f3dba43"
TIER_MINIMA = (0, 600, 1_800)  # lifetime points of each tier
TIER_DAYS = 180
QUIET_DAYS = 120  # a tier is lost after as many days without a bill
SPEND_MINIMUM = 300
COUPON_DAYS = 60
REWARD_POINTS = 500


class ProgrammeSimulation:
    """The programme from `DAYS` before a day until that day."""

    def __init__(self, until: date, members: int, seed: int = 1) -> None:
        self._random = Random(seed)  # noqa: S311
        self._start = until - timedelta(days=DAYS)
        self._done: set[tuple[str, int]] = set()  # faults that have happened
        self._at = datetime.min.replace(tzinfo=UTC)
        self.members = make_members(members, self._random.random)
        self._states = [MemberState() for _ in self.members]

    def deliveries(self) -> list[SimulatedDelivery]:
        """Return all deliveries in order of arrival."""
        sent = [one for day in range(DAYS) for one in self._day(day)]
        sent += self._orders()
        sent += self._unreadable()
        return sorted(sent, key=lambda one: one.at)

    def _day(self, day: int) -> Iterator[SimulatedDelivery]:
        for member, state in zip(self.members, self._states, strict=True):
            if day < member.joins or state.is_merged:
                continue
            self._at = self._time_of(day, 8 + 3 * self._random.random())
            if day == member.joins:
                yield from self._join(member, state)
            else:
                yield from self._lapse(member, day)
                yield from self._change_tier(member, state, day)
            if day == member.joins or self._random.random() < member.activity:
                yield from self._visit(member, state, day)
        yield from self._transfers(day)
        yield from self._merges(day)

    def _join(self, member: Member, state: MemberState) -> Iterator[SimulatedDelivery]:
        person = member.person
        data = {
            "loyaltyType": "LOYALTY",
            "source": "instore",
            "firstName": person.first_name,
            "lastName": person.last_name,
            "enteredAt": bodies.milliseconds(self._at),
            "enteredBy": bodies.store_data(self._store()),
            "customerIdentifiers": person.identifiers(),
        }
        yield self._event("customerAdded", data)
        if self._random.random() < 0.6:
            state.coupon = 30_000_000 + person.customer
            last_day = self._at.date() + timedelta(days=COUPON_DAYS)
            yield self._event("CouponIssue", bodies.coupon_data(person, state.coupon, self._at, last_day))

    def _lapse(self, member: Member, day: int) -> Iterator[SimulatedDelivery]:
        """Lapse points in the night after their last day, and report them, unless the vendor waives the expiry."""
        if member.number in FAULTS["expiry waived"]:
            return
        lapsed = member.wallet.lapse(self._at.date())
        if lapsed:
            data = {
                "customerIdentifiers": member.person.identifiers(),
                "triggeringActivity": {},
                "loyaltyProgramId": bodies.PROGRAMME,
                "pointsExpired": lapsed,
            }
            yield self._event("pointsExpired", data, at=self._time_of(day, 2.0))

    def _visit(self, member: Member, state: MemberState, day: int) -> Iterator[SimulatedDelivery]:
        """Buy, sometimes with points or a coupon, and sometimes return the bill some days later."""
        wallet = member.wallet
        if wallet.available >= SPEND_MINIMUM and self._random.random() < 0.35:
            points = Decimal(100 * int(1 + (int(wallet.available) // 100 - 1) * self._random.random()))
            yield from self._redeem(member, points, is_lost=self._fault("debit lost", member, day))
        amount = int(15 + 150 * self._random.random() ** 2)
        points = amount * (Decimal(1), Decimal("1.25"), Decimal("1.5"))[state.tier - 1]
        state.bills, state.last_bill_day = state.bills + 1, day
        bill = f"M{member.person.customer}-{state.bills:03}"
        self._minute()
        yield self._event("transactionAdded", self._bill_data(member, bill, amount))
        if state.coupon and self._random.random() < 0.4:
            redemption = 60_000_000 + member.person.customer
            data = bodies.coupon_redemption_data(member.person, state.coupon, self._at, redemption, bill)
            state.coupon = None
            yield self._event("CouponRedeem", data)
        self._minute()
        yield from self._issue(member, points, bill, day)
        if state.bills % 25 == 0:
            yield self._badge(member)
        if self._random.random() < 0.04:
            self._minute(120)
            yield from self._return(member, bill)

    def _issue(self, member: Member, points: Decimal, bill: str, day: int) -> Iterator[SimulatedDelivery]:
        lot = member.wallet.earn(bill, points, self._at.date())
        data = self._points_data(
            member,
            totalPointsIssued=points,
            regularPointsIssued=points,
            regularPointsBreakup=[{"points": points, "expiryAt": lot.last_day.isoformat()}],
            triggeringActivity=activity("TransactionAdd", BillId=self._number_of(bill), billNumber=bill),
        )
        event = self._event("pointsIssued", data)
        if not self._fault("credit lost", member, day):
            yield event
        if self._fault("conflict", member, day):
            changed = event.body.replace(b'"totalPointsIssued": ', b'"totalPointsIssued": 1')
            yield SimulatedDelivery(event.at + timedelta(minutes=7), event.source, changed)
        if self._random.random() < 0.01:
            yield SimulatedDelivery(event.at + timedelta(minutes=3), event.source, event.body)  # a redelivery

    def _redeem(self, member: Member, points: Decimal, *, is_lost: bool) -> Iterator[SimulatedDelivery]:
        member.wallet.spend(points)
        redemption = self._id()[:8]
        share = {"programId": bodies.PROGRAMME, "pointsRedeemed": points,
                 "programCurrentPoints": member.wallet.available}  # fmt: skip
        data = points_data(
            member.person,
            totalPointsRedeemed=points,
            redeemedPointsCurrencyValue=points / 100,
            redemptionFromEarningPrograms=[share],
            triggeringActivity=activity("PointsRedemption", redemptionId=redemption),
        )
        event = self._event("pointsRedeemed", data)
        if not is_lost:
            yield event
        if points == REWARD_POINTS:
            self._minute()
            yield self._reward(member)

    def _return(self, member: Member, bill: str) -> Iterator[SimulatedDelivery]:
        points = member.wallet.take_back(bill)
        if points:
            data = self._points_data(
                member,
                totalIssuedPointsReversed=points,
                regularPointsReversed=points,
                currentEventTotalPointsReturned=points,
                currentEventRegularPointsReturned=points,
                triggeringActivity=activity("ReturnBill", billId=self._number_of(bill), billNumber=bill),
            )
            yield self._event("issuedPointsReversed", data)

    def _change_tier(self, member: Member, state: MemberState, day: int) -> Iterator[SimulatedDelivery]:
        """Upgrade by lifetime points; renew an ending tier of an active member; downgrade a quiet one."""
        earned = sum(member.wallet.lifetime >= least for least in TIER_MINIMA)
        previous = state.tier
        ends = (self._at + timedelta(days=TIER_DAYS)).date().isoformat()
        if earned > state.tier and day - state.last_bill_day < QUIET_DAYS:
            state.tier, state.tier_ends = earned, day + TIER_DAYS
            change = {"previousTierNumber": previous, "upgradedTierNumber": earned, "upgradeType": "EAGER"}
            yield self._event("tierUpgraded", points_data(member.person, tierExpiryDate=ends, **change))
        elif state.tier > 1 and day >= state.tier_ends:
            state.tier_ends = day + TIER_DAYS
            if day - state.last_bill_day < QUIET_DAYS:
                change = {"currentTierNumber": previous, "renewType": "SAME_TIER"}
                yield self._event("tierRenewed", points_data(member.person, tierExpiryDate=ends, **change))
            else:
                state.tier -= 1
                change = {"previousTierNumber": previous, "downgradedTierNumber": state.tier}
                yield self._event("tierDowngraded", points_data(member.person, tierExpiryDate=ends, **change))

    def _transfers(self, day: int) -> Iterator[SimulatedDelivery]:
        """Send half of a member's points to another member. The receiver's half may never arrive."""
        for sender, receiver, on in TRANSFERS:
            if on != day or max(sender, receiver) >= len(self.members):
                continue
            one, other = self.members[sender], self.members[receiver]
            points = Decimal(int(one.wallet.available) // 20 * 10)
            if not points or day < other.joins:
                continue
            self._at = self._time_of(day, 21.0)
            one.wallet.spend(points)
            transfer = f"T{self._id()[:9]}"
            share = {"programId": bodies.PROGRAMME, "pointsRedeemed": points,
                     "programCurrentPoints": one.wallet.available}  # fmt: skip
            data = points_data(
                one.person,
                totalPointsTransferred=points,
                transferReceivingCustomerIdentifiers=other.person.identifiers(),
                redemptionFromEarningPrograms=[share],
            )
            yield self._event("pointsTransferredInitiated", data, loyalty_event=transfer)
            if day not in HALF_TRANSFERS:
                self._minute()
                other.wallet.receive(transfer, points)
                data = points_data(
                    other.person,
                    totalPointsTransferred=points,
                    transferInitiatingCustomerIdentifiers=one.person.identifiers(),
                )
                yield self._event("pointsTransferredReceived", data, loyalty_event=transfer)

    def _merges(self, day: int) -> Iterator[SimulatedDelivery]:
        for number, on in MERGES.items():
            if on != day or number + 1 >= len(self.members):
                continue
            survivor, victim = self.members[number], self.members[number + 1]
            if day < max(survivor.joins, victim.joins):
                continue
            self._at = self._time_of(day, 22.0)
            survivor.wallet.merge(victim.wallet)
            self._states[number + 1].is_merged = True
            summary: dict[str, object] = {
                "loyaltyProgramId": bodies.PROGRAMME,
                "lifetimePoints": survivor.wallet.lifetime,
                "currentPoints": survivor.wallet.available,
                "promisedPoints": 0,
                "tierNumber": self._states[number].tier,
            }
            data: dict[str, object] = {
                "survivorCustomerIdentifiers": survivor.person.identifiers(),
                "victimCustomerIdentifiers": victim.person.identifiers(),
                "survivorCustomerLoyaltySummary": [summary],
                "triggeringActivity": activity("customerMerge"),
            }
            yield self._event("loyaltyCustomerMerge", data)

    def _orders(self) -> Iterator[SimulatedDelivery]:
        """Items ordered with points. Some fail or are cancelled, and one is reported as both failed and fulfilled."""
        for number in range(len(self.members) // 6):
            day = DAYS - 3 - int(200 * self._random.random())
            self._at = self._time_of(day, 12 + 5 * self._random.random())
            item, user = str(self._id()), f"user-{number % 17:03}"
            points, partner = 1_000 * (1 + number % 12), PARTNERS[number % len(PARTNERS)]
            outcome = "failed" if number % 8 == 3 else "cancelled" if number % 13 == 5 else "confirmed"
            error = "The partner did not find the membership number." if outcome == "failed" else ""
            yield bodies.order_item(self._id(), self._at, outcome, item, points, partner, user, error=error)
            if number == 11:
                self._minute(600)
                yield bodies.order_item(self._id(), self._at, "confirmed", item, points, partner, user)

    def _unreadable(self) -> Iterator[SimulatedDelivery]:
        """Deliveries that cannot be read: one that was cut short, and one of a kind that is not known."""
        person = self.members[0].person
        self._at = self._time_of(DAYS - 40, 13.0)
        event = self._event("pointsIssued", points_data(person, totalPointsIssued=Decimal(40)))
        yield event._replace(body=event.body[: len(event.body) // 2])
        self._at = self._time_of(DAYS - 22, 15.0)
        yield self._event("giftWrapOrdered", {"customerIdentifiers": person.identifiers(), "wraps": 2})

    def _badge(self, member: Member) -> SimulatedDelivery:
        data = {
            "customerIdentifiers": member.person.identifiers(),
            "badgeId": BADGE,
            "earnId": self._id().replace("-", "")[:24],
            "earnedOn": bodies.milliseconds(self._at),
            "earnConstraints": [],
        }
        return self._event("badgeEarned", data)

    def _reward(self, member: Member) -> SimulatedDelivery:
        data = {
            "customerIdentifiers": member.person.identifiers(),
            "rewardId": 4_100,
            "type": "POINTS",
            "redemptionType": "VENDOR_REWARD",
            "intouchPoints": REWARD_POINTS,
            "vendorRewardDetails": {"vendorVoucher": f"GIFT-{self._id()[:6].upper()}"},
        }
        return self._event("rewardIssued", data)

    def _bill_data(self, member: Member, bill: str, amount: int) -> dict[str, object]:
        return {
            "amount": amount,
            "billNumber": bill,
            "enteredAt": bodies.milliseconds(self._at),
            "transactionId": self._number_of(bill),
            "billType": "REGULAR",
            "currencyCode": "EUR",
            "enteredBy": bodies.store_data(self._store()),
            "customerIdentifiers": member.person.identifiers(),
        }

    def _points_data(self, member: Member, **more: object) -> dict[str, object]:
        """Return the data of an event with the vendor's claim."""
        wallet = member.wallet
        return points_data(
            member.person, programCurrentPoints=wallet.available, programLifetimePoints=wallet.lifetime, **more
        )

    def _event(
        self, name: str, data: Mapping[str, object], *, at: datetime | None = None, loyalty_event: str = ""
    ) -> SimulatedDelivery:
        return capillary(name, self._id(), at or self._at, data, loyalty_event=loyalty_event)

    def _fault(self, fault: str, member: Member, day: int) -> bool:
        """Return True once: on the first bill of a member from the day of the fault on."""
        from_day = FAULTS[fault].get(member.number)
        if from_day is None or day < from_day or (fault, member.number) in self._done:
            return False
        self._done.add((fault, member.number))
        return True

    def _id(self) -> str:
        return str(uuid.UUID(int=self._random.getrandbits(128), version=4))

    def _number_of(self, bill: str) -> int:
        """Return the vendor's id of a bill."""
        return 800_000_000 + int(bill[1:].replace("-", "")) % 100_000_000

    def _store(self) -> str:
        return STORES[int(len(STORES) * self._random.random())]

    def _time_of(self, day: int, hour: float) -> datetime:
        start = datetime.combine(self._start + timedelta(days=day), time(), UTC)
        return start + timedelta(seconds=int(hour * 3600))

    def _minute(self, minutes: int = 1) -> None:
        self._at += timedelta(minutes=minutes, seconds=int(30 * self._random.random()))
