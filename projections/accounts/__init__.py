"""Accounts: what a holder has, lot by lot, and the statement that explains it."""

from projections.accounts.state import Wallet
from projections.accounts.wallet import ACCOUNTS

__all__ = ["ACCOUNTS", "Wallet"]
