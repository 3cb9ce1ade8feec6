"""Import files of deliveries and exported ledgers."""
