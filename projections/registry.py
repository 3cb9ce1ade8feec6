"""All projections, in one list. A new projection is one new file and one line here."""

from projections.accounts import ACCOUNTS
from projections.badges import BADGES
from projections.bills import BILLS
from projections.cards import CARDS
from projections.coupons import COUPONS
from projections.customers import CUSTOMERS
from projections.definition import Projection
from projections.order_items import ORDER_ITEMS
from projections.partner_memberships import PARTNER_MEMBERSHIPS
from projections.periods import PERIODS
from projections.programmes import PROGRAMMES
from projections.promotions import PROMOTIONS
from projections.redemption_records import REDEMPTION_RECORDS
from projections.requests import REQUESTS
from projections.reward_redemptions import REWARD_REDEMPTIONS
from projections.rewards import REWARDS
from projections.targets.milestone_groups import MILESTONE_GROUPS
from projections.targets.milestones import MILESTONES
from projections.targets.streaks import STREAKS
from projections.tiers import TIERS
from projections.transfers import TRANSFERS

PROJECTIONS: tuple[Projection, ...] = (
    ACCOUNTS,
    COUPONS,
    REWARD_REDEMPTIONS,
    TIERS,
    TRANSFERS,
    ORDER_ITEMS,
    REDEMPTION_RECORDS,
    CUSTOMERS,
    BILLS,
    REQUESTS,
    CARDS,
    PARTNER_MEMBERSHIPS,
    REWARDS,
    MILESTONES,
    MILESTONE_GROUPS,
    STREAKS,
    BADGES,
    PROMOTIONS,
    PERIODS,
    PROGRAMMES,
)

BY_SUBJECT: dict[str, Projection] = {projection.subject: projection for projection in PROJECTIONS}
