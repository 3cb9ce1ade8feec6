"""One plain sentence for each kind of fact. *explain* shows it to support agents.

A sentence reports what happened, without any word of this software. The docstrings of facts and rules are for
developers.
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
from ledger.facts.rewards import (
    RewardClaimed,
    RewardCreated,
    RewardRedemptionCompleted,
    RewardRedemptionCreated,
    RewardRedemptionFailed,
    RewardRedemptionPending,
    RewardRedemptionRolledBack,
    RewardUpdated,
)
from ledger.facts.streaks import (
    StreakEnded,
    StreakEnrolled,
    StreakLevelAchieved,
    StreakLevelUnAchieved,
    StreakStarted,
    StreakUnEnrolled,
)
from ledger.facts.terms import ProgrammeTermsSet
from ledger.facts.tiers import TierClaimed, TierDowngraded, TierJoined, TierLeft, TierRenewed, TierUpgraded
from ledger.facts.transfers import TransferCompleted, TransferInitiated

SENTENCES: Mapping[type[Fact], str] = {
    # accounts
    Issued: "Points were credited to the account. Promised points, if any, are kept apart until they become spendable.",
    PromisedConverted: "Promised points became spendable.",
    Redeemed: "Points were spent.",
    RedemptionReversed: "Spent points were given back, in full or in part.",
    IssueReversed: "Credited points were taken back, because the bill that earned them was returned.",
    TransferSent: "Points were sent to another account.",
    TransferReceived: "Points arrived from another account, as a new lot.",
    TransferSettled: "The other account received the points that this account had sent.",
    Expired: "The source reported that points expired. Lots with the earliest day are used first.",
    ExpiryMoved: "Points that expire on one day now expire on another day.",
    ExpiryClaimed: "The source announced how many points will expire on a day. No balance changes.",
    PromiseMade: "Points were promised. They become spendable later.",
    PromiseChanged: "The promise changed: it now has this number of points and this day.",
    PromiseKept: "The promised points became spendable, as a new lot. The promise is complete.",
    PromiseCancelled: "The promise was cancelled. Its points will not become spendable.",
    HoldCaptured: "The ordered item arrived. The points held for it are spent.",
    HoldRefundDue: "The ordered item failed or was cancelled. The points held for it are due back.",
    HoldRefunded: "The points due back for the item were returned to the account.",
    Removed: "The source removed points by hand.",
    AdjustmentMade: "An operator adjusted the account: points were added or taken away.",
    AdjustmentReversed: "An operator reversed an adjustment in full.",
    HolderMergedAway: "Two customers were merged. This customer's accounts moved to the other customer.",
    HolderMerged: "Two customers were merged. This customer took over the other's accounts.",
    HolderUnmerged: "A merge was undone. The rest of this customer's points returned to its own accounts.",
    # coupons
    CouponIssued: "The coupon was issued to a customer.",
    CouponRedeemed: "The coupon was used.",
    CouponRedemptionReversed: "A use of the coupon was reversed, in full or in part. The coupon may be used again.",
    # reward_redemptions
    RewardRedemptionCreated: "The customer requested the reward.",
    RewardRedemptionPending: "The reward is pending.",
    RewardRedemptionCompleted: "The customer received the reward.",
    RewardRedemptionFailed: "The reward was not given. Points that were taken for it are due back.",
    RewardRedemptionRolledBack: "The reward was withdrawn after it was given.",
    # tiers
    TierJoined: "The customer was in no tier and entered this tier.",
    TierRenewed: "The customer stays in the tier until a new day.",
    TierUpgraded: "The customer moved up to this tier.",
    TierDowngraded: "The customer moved down to this tier.",
    TierLeft: "The customer left this tier and is in no tier now.",
    TierAfterMerge: "Two customers were merged. The remaining customer is in this tier.",
    TierMergedAway: "The customer was merged into another customer. This tier membership ended.",
    TierUnmerged: "A merge was undone. The tier membership that it ended continues.",
    TierClaimed: "The source stated the customer's tier and the day on which it ends. Nothing changes.",
    # transfers
    TransferInitiated: "One customer sent points to another customer.",
    TransferCompleted: "The receiver got the points.",
    # order_items
    OrderItemFulfilled: "The item arrived. The points held for it are spent.",
    OrderItemFailed: "The item did not arrive. Its points are due back to the customer.",
    OrderItemCancelled: "The item was cancelled. Its points are due back to the customer.",
    OrderItemRefunded: "The points due back for the item were returned to the customer.",
    # redemption_records
    RedemptionRecordCreated: "The source recorded that a coupon or promotion was applied to an order.",
    RedemptionRecordUpdated: "The source changed its record of a coupon or promotion that was applied to an order.",
    RedemptionRecordDeleted: "The source deleted the record. This is read as a reversed redemption.",
    # customers
    CustomerAdded: "The customer joined the programme, or was registered without joining.",
    CustomerUpdated: "The customer's details or status changed.",
    CustomerSubscribed: "The customer's consent to messages changed.",
    CustomerDeletionApproved: "The request to delete the customer's personal data was approved.",
    CustomerErased: "The customer's personal data was erased. It cannot be read any more.",
    CustomersMerged: "Two customers were merged into one.",
    CustomersUnmerged: "A merge was undone. The two customers are separate again.",
    # bills
    BillAdded: "A bill was created.",
    BillUpdated: "The bill changed.",
    # requests
    RequestOpened: "The request waits for a decision.",
    RequestMoved: "The request changed to another state. The state keeps the source's own name.",
    RequestApproved: "The request was approved.",
    RequestRejected: "The request was rejected.",
    RequestFailed: "The request could not be carried out.",
    # cards
    CardUpdated: "The card's status or details changed.",
    # partner_memberships
    PartnerLinked: "The customer joined the partner programme.",
    PartnerUpdated: "The customer's membership of the partner programme changed.",
    PartnerDelinked: "The customer's membership of the partner programme ended.",
    PartnerExpiryClaimed: "The source announced the day on which the membership will end. Nothing changes.",
    # rewards
    RewardCreated: "The reward was added to the catalogue.",
    RewardUpdated: "The reward was changed in the catalogue.",
    RewardClaimed: "The source stated the reward's status and its end. Nothing changes.",
    # milestones
    MilestoneEnrolled: "The customer was enrolled on the target.",
    MilestoneStarted: "The period of the target started.",
    MilestoneRedefined: "The target was changed for the customer.",
    MilestoneRaised: "The customer came closer to the target.",
    MilestoneAchieved: "The customer reached the target.",
    MilestoneLowered: "The customer's progress fell, because something was returned.",
    MilestoneCompleted: "The period of the target ended. The value is final, unless something is returned.",
    # milestone_groups
    MilestoneGroupAchieved: "The customer met the condition of the target group.",
    MilestoneGroupUnAchieved: "The customer no longer meets the condition of the target group.",
    # streaks
    StreakEnrolled: "The customer was enrolled in the streak.",
    StreakStarted: "The streak started.",
    StreakLevelAchieved: "The customer reached a level of the streak.",
    StreakLevelUnAchieved: "A level that the customer had reached was withdrawn, because something was returned.",
    StreakEnded: "The streak ended.",
    StreakUnEnrolled: "The customer was removed from the streak. This is final for the period.",
    # badges
    BadgeEarned: "The customer earned the badge.",
    # promotions
    PromotionIssued: "The promotion was issued to the customer, who may take part.",
    PromotionEarned: "The customer met the conditions of the promotion.",
    PromotionRedeemed: "An earned promotion was used.",
    IssuedPromotionRevoked: "The promotion was revoked. Promotions that the customer earned from it remain.",
    EarnedPromotionRevoked: "An earned promotion was revoked.",
    # periods
    PeriodClosed: "The accounting period was closed. Later reports about it appear in the next period.",
    PeriodReopened: "The accounting period was reopened.",
    # programmes
    ProgrammeTermsSet: "The terms of the programme were set. They apply from a stated day.",
}

# Statement lines without a fact of their own.
SENTENCES_WITHOUT_FACT = {
    "Lapsed": "The lot reached the end of its last day. Its remaining points can no longer be spent.",
    "Opening": "The source stated a balance for the first time. Points of unknown origin are added as a lot.",
}

EARLIER_REPORT = "This event repeats a change and moves no points. The change was counted at position"
UNKNOWN_REDEMPTION = "Points were given back for an unknown redemption without a programme. No balance changes."
