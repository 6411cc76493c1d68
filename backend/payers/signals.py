"""What other apps are told about payers. Payers stand below claims and cannot call them."""

from django.dispatch import Signal

payer_replaced = Signal()
"""Sent in the transaction that points a payer's last alias elsewhere, with `old_id` and `new_id` (UUID).

A receiver moves its rows of the old payer to the new one and returns their number by kind, as dict[str, int].
"""
