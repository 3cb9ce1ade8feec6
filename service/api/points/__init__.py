"""Questions about points beside accounts: redemptions, bills, promises, groups, units."""
