"""What each fact means, in one sentence for a support agent: what *explain* says of a rule.

A sentence says what happened, in words that need no knowledge of this software. The docstrings of facts and rules are
for those who write code.
"""

from collections.abc import Mapping

from ledger.facts import Fact
from ledger.facts.accounts import (
    Expired,
    ExpiryClaimed,
    ExpiryMoved,
    Issued,
    IssueReversed,
    PromisedConverted,
    Redeemed,
    RedemptionReversed,
    TransferReceived,
    TransferSent,
    TransferSettled,
)
from ledger.facts.adjustments import AdjustmentMade, AdjustmentReversed, Removed
from ledger.facts.badges import BadgeEarned
from ledger.facts.bills import BillAdded, BillUpdated
from ledger.facts.cards import CardUpdated
from ledger.facts.coupons import CouponIssued, CouponRedeemed, CouponRedemptionReversed
from ledger.facts.customers import (
    CustomerAdded,
    CustomerDeletionApproved,
    CustomerErased,
    CustomersMerged,
    CustomerSubscribed,
    CustomersUnmerged,
    CustomerUpdated,
)
from ledger.facts.holds import HoldCaptured, HoldRefundDue, HoldRefunded
from ledger.facts.merges import (
    HolderMerged,
    HolderMergedAway,
    HolderUnmerged,
    TierAfterMerge,
    TierMergedAway,
    TierUnmerged,
)
from ledger.facts.milestones import (
    MilestoneAchieved,
    MilestoneCompleted,
    MilestoneEnrolled,
    MilestoneGroupAchieved,
    MilestoneGroupUnAchieved,
    MilestoneLowered,
    MilestoneRaised,
    MilestoneRedefined,
    MilestoneStarted,
)
from ledger.facts.order_items import OrderItemCancelled, OrderItemFailed, OrderItemFulfilled, OrderItemRefunded
from ledger.facts.partner_memberships import PartnerDelinked, PartnerExpiryClaimed, PartnerLinked, PartnerUpdated
from ledger.facts.periods import PeriodClosed, PeriodReopened
from ledger.facts.promises import PromiseCancelled, PromiseChanged, PromiseKept, PromiseMade
from ledger.facts.promotions import (
    EarnedPromotionRevoked,
    IssuedPromotionRevoked,
    PromotionEarned,
    PromotionIssued,
    PromotionRedeemed,
)
from ledger.facts.redemption_records import RedemptionRecordCreated, RedemptionRecordDeleted, RedemptionRecordUpdated
from ledger.facts.requests import RequestApproved, RequestFailed, RequestMoved, RequestOpened, RequestRejected
from ledger.facts.reward_redemptions import (
    RewardRedemptionCompleted,
    RewardRedemptionCreated,
    RewardRedemptionFailed,
    RewardRedemptionPending,
    RewardRedemptionRolledBack,
)
from ledger.facts.rewards import RewardClaimed, RewardCreated, RewardUpdated
from ledger.facts.streaks import (
    StreakEnded,
    StreakEnrolled,
    StreakLevelAchieved,
    StreakLevelUnAchieved,
    StreakStarted,
    StreakUnEnrolled,
)
from ledger.facts.terms import ProgrammeTermsSet
from ledger.facts.tier_memberships import TierJoined, TierLeft
from ledger.facts.tiers import TierClaimed, TierDowngraded, TierRenewed, TierUpgraded
from ledger.facts.transfers import TransferCompleted, TransferInitiated

SENTENCES: Mapping[type[Fact], str] = {
    # accounts
    Issued: "Points were credited in lots, and further points promised.",
    PromisedConverted: "Promised points became spendable.",
    Redeemed: "Points were spent.",
    RedemptionReversed: "Spent points were given back, wholly or in part.",
    IssueReversed: "Credited points were taken back, because the bill that had earned them was returned.",
    TransferSent: "Points left for another account.",
    TransferReceived: "Points sent by another account arrived here, as a new lot.",
    TransferSettled: "Points that this account sent have arrived at the other.",
    Expired: "The source reports that points expired. It names no lots: those that lapse first are taken.",
    ExpiryMoved: "Points that lapse on one day now lapse on another.",
    ExpiryClaimed: "The source announces how many points will lapse on a day. This changes nothing.",
    PromiseMade: "Points were promised. They become spendable on a later day.",
    PromiseChanged: "The promise is now of this many points and of this day. What it was before no longer counts.",
    PromiseKept: "The promised points became spendable, as a new lot, and the promise is over.",
    PromiseCancelled: "The promise was withdrawn. Its points will not come.",
    HoldCaptured: "The item arrived. The points held for it are spent for good.",
    HoldRefundDue: "The item failed or was cancelled. The points held for it are due back.",
    HoldRefunded: "The points due back were given back to where the order had taken them from.",
    Removed: "Points were taken away by hand at the source.",
    AdjustmentMade: "We changed what the account holds by an adjustment of ours: points were added or taken away.",
    AdjustmentReversed: "We took an adjustment of ours back, all of it.",
    HolderMergedAway: "Two holders became one. The accounts of this one went over to the other.",
    HolderMerged: "Two holders became one. This one took over the accounts; the source claims what it now holds.",
    HolderUnmerged: "We undid a merge. What is left of this holder's points goes back to its own accounts.",
    # coupons
    CouponIssued: "The coupon was given to a customer.",
    CouponRedeemed: "The coupon was used.",
    CouponRedemptionReversed: "A use of the coupon was undone, wholly or in part, so that it may be used again.",
    # reward_redemptions
    RewardRedemptionCreated: "The customer asked for the reward.",
    RewardRedemptionPending: "The reward waits for something before it is given.",
    RewardRedemptionCompleted: "The reward was given.",
    RewardRedemptionFailed: "The reward was not given. Points that were taken for it are due back.",
    RewardRedemptionRolledBack: "The reward was taken back.",
    # tiers
    TierJoined: "The customer, in no tier before, entered this one.",
    TierRenewed: "The customer stays in the tier, until a new day.",
    TierUpgraded: "The customer entered a higher tier.",
    TierDowngraded: "The customer fell to a lower tier.",
    TierLeft: "The customer left this tier and is in none now.",
    TierAfterMerge: "After a merge the remaining customer is in this tier.",
    TierMergedAway: "The customer became another one by a merge. Their own membership ended with it.",
    TierUnmerged: "We undid a merge. The membership that had ended with it goes on.",
    TierClaimed: "The source says which tier the customer is in and when it will fall. This changes nothing.",
    # transfers
    TransferInitiated: "One customer sent points to another.",
    TransferCompleted: "The sent points arrived.",
    # order_items
    OrderItemFulfilled: "The item arrived. The points held for it are spent.",
    OrderItemFailed: "The item did not arrive. Its points are due back to the customer.",
    OrderItemCancelled: "The item was cancelled. Its points are due back to the customer.",
    OrderItemRefunded: "The points due back for the item were given back.",
    # redemption_records
    RedemptionRecordCreated: "The source wrote down that a coupon or promotion was applied to an order.",
    RedemptionRecordUpdated: "The source changed its record of a coupon or promotion that was applied to an order.",
    RedemptionRecordDeleted: "The record was taken away. We read this as an undone redemption.",
    # customers
    CustomerAdded: "The customer joined, or was registered without joining.",
    CustomerUpdated: "The customer's details or status changed.",
    CustomerSubscribed: "The customer's consent to messages changed, by channel.",
    CustomerDeletionApproved: "The request to delete the customer's personal data was approved.",
    CustomerErased: "The customer's personal data was erased. Nobody can read it any more.",
    CustomersMerged: "Two customers became one.",
    CustomersUnmerged: "We undid a merge. They are two customers again.",
    # bills
    BillAdded: "A bill was made out.",
    BillUpdated: "Something about a bill changed.",
    # requests
    RequestOpened: "The request waits for a decision.",
    RequestMoved: "The request is in a state of the source's own, which we keep as it is named.",
    RequestApproved: "The request was approved.",
    RequestRejected: "The request was rejected.",
    RequestFailed: "The request could not be carried out.",
    # cards
    CardUpdated: "The card's status or fields changed.",
    # partner_memberships
    PartnerLinked: "The customer became a member of the partner programme.",
    PartnerUpdated: "The membership of the partner programme changed.",
    PartnerDelinked: "The customer's membership of the partner programme ended.",
    PartnerExpiryClaimed: "The source announces on which day the membership will end. This changes nothing.",
    # rewards
    RewardCreated: "The reward came into the catalogue.",
    RewardUpdated: "The reward was published anew.",
    RewardClaimed: "The source says how the reward stands and when it will end. This changes nothing.",
    # milestones
    MilestoneEnrolled: "The customer was enrolled on the target.",
    MilestoneStarted: "The period opened.",
    MilestoneRedefined: "The target was set anew for the customer.",
    MilestoneRaised: "The customer came nearer to the target.",
    MilestoneAchieved: "The customer reached the target.",
    MilestoneLowered: "The customer fell back, because something was returned.",
    MilestoneCompleted: "The period closed. The value is final unless something is returned.",
    # milestone_groups
    MilestoneGroupAchieved: "The customer met the group's condition.",
    MilestoneGroupUnAchieved: "The customer no longer meets the group's condition.",
    # streaks
    StreakEnrolled: "The customer was enrolled in the streak.",
    StreakStarted: "The streak began.",
    StreakLevelAchieved: "The customer reached a level.",
    StreakLevelUnAchieved: "A level that the customer had reached was withdrawn, because something was returned.",
    StreakEnded: "The streak came to its end.",
    StreakUnEnrolled: "The customer was taken out of the streak, for good in this period.",
    # badges
    BadgeEarned: "The customer earned the badge.",
    # promotions
    PromotionIssued: "The customer may take part in the promotion.",
    PromotionEarned: "The customer met the conditions of the promotion.",
    PromotionRedeemed: "An earned promotion was used.",
    IssuedPromotionRevoked: "The promotion was taken back from the customer. What was earned from it stays earned.",
    EarnedPromotionRevoked: "An earned promotion was taken back.",
    # periods
    PeriodClosed: "The period was closed. What is told of it later shows in the next one.",
    PeriodReopened: "The period was opened again.",
    # programmes
    ProgrammeTermsSet: "The terms of the programme were set, from a day on.",
}

# What stands in a statement without a fact that says so.
WITHOUT_FACT = {
    "Lapsed": "The lot's day was over: what remained in it can no longer be spent, whoever told of it.",
    "Opening": "The source claims a balance for the first time: what the facts before it do not explain was there "
    "before we listened, as a lot of its own.",
}

EARLIER_REPORT = "This event reports a change again: it moves no points. Already counted by the event at position"
UNPLACED = (
    "Points were given back for a redemption that was not told, and no programme is named. So no balance changes."
)
