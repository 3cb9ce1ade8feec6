"""Accounts: what a holder has, lot by lot, and the statement that explains it."""

from projections.accounts.wallet import ACCOUNTS, Wallet

__all__ = ["ACCOUNTS", "Wallet"]
