"""Lists of rows and of orders: their filters, orders, pages and totals."""
