"""What alerts do when they are told of something; connected when the application is ready."""

from typing import Any

from django.dispatch import receiver

from backend.accounts.signals import organization_created
from backend.alerts.services import alert_rule_default
from backend.core.actor import Actor


@receiver(organization_created, dispatch_uid="alerts.first_rule")
def give_first_rule(actor: Actor, **_: Any) -> None:
    """Gives a new organization its first rule, so that its first detection can raise alerts."""
    alert_rule_default(actor)
