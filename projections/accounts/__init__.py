"""The accounts projection: balances of each holder, lot by lot, and the statement that explains them."""

from projections.accounts.state import Wallet
from projections.accounts.wallet import ACCOUNTS

__all__ = ["ACCOUNTS", "Wallet"]
