"""The vendors we read, in one list. A new vendor is one file and one line here."""

from ledger.vendors.ascenda import ASCENDA
from ledger.vendors.capillary import CAPILLARY
from ledger.vendors.fabric import FABRIC
from ledger.vendors.internal import INTERNAL
from ledger.vendors.vendor import Vendor
from ledger.vendors.voucherify import VOUCHERIFY

VENDORS: dict[str, Vendor] = {vendor.name: vendor for vendor in (CAPILLARY, VOUCHERIFY, ASCENDA, FABRIC)}

# Whatever an event in the ledger may come from: our own acts too, which no connection brings.
SOURCES: dict[str, Vendor] = {**VENDORS, INTERNAL.name: INTERNAL}
