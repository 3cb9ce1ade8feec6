"""All vendors, in one list. A new vendor is one file or folder and one line in this list."""

from ledger.vendors.ascenda import ASCENDA
from ledger.vendors.capillary import CAPILLARY
from ledger.vendors.fabric import FABRIC
from ledger.vendors.internal import INTERNAL
from ledger.vendors.vendor import Vendor
from ledger.vendors.voucherify import VOUCHERIFY

VENDORS: dict[str, Vendor] = {vendor.name: vendor for vendor in (CAPILLARY, VOUCHERIFY, ASCENDA, FABRIC)}

# All sources of events. Internal events have no connection, because this system records them itself.
SOURCES: dict[str, Vendor] = {**VENDORS, INTERNAL.name: INTERNAL}
