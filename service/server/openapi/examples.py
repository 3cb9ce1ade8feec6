"""Examples of the document: published payloads of vendors, and the answers to them.

They are recorded from a service that received every published sample; tests/support/record_examples.py writes them.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FILE = Path(__file__).parents[2] / "api/reference/examples.json"
# Published samples, by source and name.
DELIVERY_EXAMPLES = (
    "capillary/pointsIssued",
    "voucherify/voucher.loyalty_card.points_added",
    "ascenda/order_item.fulfillment.confirmed",
    "fabric/offers.redemption.coupon.created",
)


def read_examples(file: Path = FILE) -> Mapping[str, Any]:
    """Read the examples: `answers` by operation id, and `deliveries` by source and name."""
    examples: Mapping[str, Any] = json.loads(file.read_text())
    return examples
