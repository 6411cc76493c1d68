"""What other apps are told about accounts. Accounts stand below them and cannot call them."""

from django.dispatch import Signal

organization_created = Signal()
"""Sent in the transaction that makes an organization, with `actor`, the product itself acting for it."""
