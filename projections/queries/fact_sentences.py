"""Public name of each rule, and one plain sentence for it. *explain* shows both to support agents.

A sentence reports what happened, without any word of this software. The docstrings of facts and rules are for
developers.
"""

SENTENCES = {
    "account.issued": (
        "Points were credited to the account. Promised points, if any, are kept apart until they become spendable."
    ),
    "account.promised_converted": "Promised points became spendable.",
    "account.redeemed": "Points were spent.",
    "account.redemption_reversed": "Spent points were given back, in full or in part.",
    "account.issue_reversed": "Credited points were taken back, because the bill that earned them was returned.",
    "account.transfer_sent": "Points were sent to another account.",
    "account.transfer_received": "Points arrived from another account, as a new lot.",
    "account.transfer_settled": "The other account received the points that this account had sent.",
    "account.expired": "The source reported that points expired. Lots with the earliest day are used first.",
    "account.expiry_moved": "Points that expire on one day now expire on another day.",
    "account.expiry_claimed": "The source announced how many points will expire on a day. No balance changes.",
    "account.promise_made": "Points were promised. They become spendable later.",
    "account.promise_changed": "The promise changed: it now has this number of points and this day.",
    "account.promise_kept": "The promised points became spendable, as a new lot. The promise is complete.",
    "account.promise_cancelled": "The promise was cancelled. Its points will not become spendable.",
    "account.hold_captured": "The ordered item arrived. The points held for it are spent.",
    "account.hold_refund_due": "The ordered item failed or was cancelled. The points held for it are due back.",
    "account.hold_refunded": "The points due back for the item were returned to the account.",
    "account.removed": "The source removed points by hand.",
    "account.adjustment_made": "An operator adjusted the account: points were added or taken away.",
    "account.adjustment_reversed": "An operator reversed an adjustment in full.",
    "account.holder_merged_away": "Two customers were merged. This customer's accounts moved to the other customer.",
    "account.holder_merged": "Two customers were merged. This customer took over the other's accounts.",
    "account.holder_unmerged": "A merge was undone. The rest of this customer's points returned to its own accounts.",
    "coupon.coupon_issued": "The coupon was issued to a customer.",
    "coupon.coupon_redeemed": "The coupon was used.",
    "coupon.coupon_redemption_reversed": (
        "A use of the coupon was reversed, in full or in part. The coupon may be used again."
    ),
    "reward_redemption.reward_redemption_created": "The customer requested the reward.",
    "reward_redemption.reward_redemption_pending": "The reward is pending.",
    "reward_redemption.reward_redemption_completed": "The customer received the reward.",
    "reward_redemption.reward_redemption_failed": (
        "The reward was not given. Points that were taken for it are due back."
    ),
    "reward_redemption.reward_redemption_rolled_back": "The reward was withdrawn after it was given.",
    "membership.tier_joined": "The customer was in no tier and entered this tier.",
    "membership.tier_renewed": "The customer stays in the tier until a new day.",
    "membership.tier_upgraded": "The customer moved up to this tier.",
    "membership.tier_downgraded": "The customer moved down to this tier.",
    "membership.tier_left": "The customer left this tier and is in no tier now.",
    "membership.tier_after_merge": "Two customers were merged. The remaining customer is in this tier.",
    "membership.tier_merged_away": "The customer was merged into another customer. This tier membership ended.",
    "membership.tier_unmerged": "A merge was undone. The tier membership that it ended continues.",
    "membership.tier_claimed": "The source stated the customer's tier and the day on which it ends. Nothing changes.",
    "transfer.transfer_initiated": "One customer sent points to another customer.",
    "transfer.transfer_completed": "The receiver got the points.",
    "order_item.order_item_fulfilled": "The item arrived. The points held for it are spent.",
    "order_item.order_item_failed": "The item did not arrive. Its points are due back to the customer.",
    "order_item.order_item_cancelled": "The item was cancelled. Its points are due back to the customer.",
    "order_item.order_item_refunded": "The points due back for the item were returned to the customer.",
    "redemption_record.redemption_record_created": (
        "The source recorded that a coupon or promotion was applied to an order."
    ),
    "redemption_record.redemption_record_updated": (
        "The source changed its record of a coupon or promotion that was applied to an order."
    ),
    "redemption_record.redemption_record_deleted": (
        "The source deleted the record. This is read as a reversed redemption."
    ),
    "customer.customer_added": "The customer joined the programme, or was registered without joining.",
    "customer.customer_updated": "The customer's details or status changed.",
    "customer.customer_subscribed": "The customer's consent to messages changed.",
    "customer.customer_deletion_approved": "The request to delete the customer's personal data was approved.",
    "customer.customer_erased": "The customer's personal data was erased. It cannot be read any more.",
    "customer.customers_merged": "Two customers were merged into one.",
    "customer.customers_unmerged": "A merge was undone. The two customers are separate again.",
    "bill.bill_added": "A bill was created.",
    "bill.bill_updated": "The bill changed.",
    "request.request_opened": "The request waits for a decision.",
    "request.request_moved": "The request changed to another state. The state keeps the source's own name.",
    "request.request_approved": "The request was approved.",
    "request.request_rejected": "The request was rejected.",
    "request.request_failed": "The request could not be carried out.",
    "card.card_updated": "The card's status or details changed.",
    "partner_membership.partner_linked": "The customer joined the partner programme.",
    "partner_membership.partner_updated": "The customer's membership of the partner programme changed.",
    "partner_membership.partner_delinked": "The customer's membership of the partner programme ended.",
    "partner_membership.partner_expiry_claimed": (
        "The source announced the day on which the membership will end. Nothing changes."
    ),
    "reward.reward_created": "The reward was added to the catalogue.",
    "reward.reward_updated": "The reward was changed in the catalogue.",
    "reward.reward_claimed": "The source stated the reward's status and its end. Nothing changes.",
    "milestone.milestone_enrolled": "The customer was enrolled on the target.",
    "milestone.milestone_started": "The period of the target started.",
    "milestone.milestone_redefined": "The target was changed for the customer.",
    "milestone.milestone_raised": "The customer came closer to the target.",
    "milestone.milestone_achieved": "The customer reached the target.",
    "milestone.milestone_lowered": "The customer's progress fell, because something was returned.",
    "milestone.milestone_completed": (
        "The period of the target ended. The value is final, unless something is returned."
    ),
    "milestone_group.milestone_group_achieved": "The customer met the condition of the target group.",
    "milestone_group.milestone_group_un_achieved": "The customer no longer meets the condition of the target group.",
    "streak.streak_enrolled": "The customer was enrolled in the streak.",
    "streak.streak_started": "The streak started.",
    "streak.streak_level_achieved": "The customer reached a level of the streak.",
    "streak.streak_level_un_achieved": (
        "A level that the customer had reached was withdrawn, because something was returned."
    ),
    "streak.streak_ended": "The streak ended.",
    "streak.streak_un_enrolled": "The customer was removed from the streak. This is final for the period.",
    "badge.badge_earned": "The customer earned the badge.",
    "promotion.promotion_issued": "The promotion was issued to the customer, who may take part.",
    "promotion.promotion_earned": "The customer met the conditions of the promotion.",
    "promotion.promotion_redeemed": "An earned promotion was used.",
    "promotion.issued_promotion_revoked": (
        "The promotion was revoked. Promotions that the customer earned from it remain."
    ),
    "promotion.earned_promotion_revoked": "An earned promotion was revoked.",
    "period.period_closed": "The accounting period was closed. Later reports about it appear in the next period.",
    "period.period_reopened": "The accounting period was reopened.",
    "programme.programme_terms_set": "The terms of the programme were set. They apply from a stated day.",
    # Statement lines without a fact of their own.
    "account.lapsed": "The lot reached the end of its last day. Its remaining points can no longer be spent.",
    "validity.ended": "The validity ended. No event reports an end; it follows from the stated day or time.",
    "account.opening": "The source stated a balance for the first time. Points of unknown origin are added as a lot.",
}

EARLIER_REPORT = "This event repeats a change and moves no points. The change was counted at position"
UNKNOWN_REDEMPTION = "Points were given back for an unknown redemption without a programme. No balance changes."
