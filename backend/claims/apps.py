"""The Django application `claims`."""

from django.apps import AppConfig

from backend.claims.payer_moves import payer_rows_move
from backend.payers.signals import payer_replaced


class ClaimsConfig(AppConfig):
    """Registers the application under an explicit label."""

    name = "backend.claims"
    label = "claims"

    def ready(self) -> None:
        """Lets claims follow when a payer is replaced."""

        payer_replaced.connect(payer_rows_move, dispatch_uid="claims.payer_rows_move")
