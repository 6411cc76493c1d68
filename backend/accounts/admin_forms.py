"""Forms of the admin for organizations, people and API tokens; what they may hold is decided by the services."""

from datetime import timedelta
from typing import Any, ClassVar

from django import forms
from django.contrib.auth.forms import BaseUserCreationForm, UserChangeForm
from django.utils import timezone

from backend.accounts.models import ApiToken, Membership, Organization, User
from backend.accounts.services import MAX_TOKEN_DAYS, NAME_LENGTH, organization_check
from backend.core.actor import Right, Role
from backend.core.errors import AppError


class PersonCreationForm(BaseUserCreationForm):  # type: ignore[type-arg]  # generic in the stubs alone
    """A new person with a password."""

    class Meta:
        model = User
        fields = ("email", "name")
        field_classes: dict[str, type[forms.Field]] = {}


class PersonChangeForm(UserChangeForm):  # type: ignore[type-arg]  # generic in the stubs alone
    """What may be changed of a person."""

    class Meta:
        model = User
        fields = ("email", "name", "is_active", "is_staff", "is_superuser")
        field_classes: dict[str, type[forms.Field]] = {}


class OrganizationForm(forms.ModelForm):  # type: ignore[type-arg]  # generic in the stubs alone
    """The settings of an organization."""

    name = forms.CharField(max_length=NAME_LENGTH)

    class Meta:
        model = Organization
        fields = (
            "name",
            "timezone",
            "phi_policy",
            "retention_days",
            "fdr_q",
            "severity_lift_cents",
            "purpose_required",
            "small_cells",
            "small_cell_minimum",
        )
        help_texts: ClassVar[dict[str, str]] = {
            "purpose_required": "Claim lines are shown only to requests that say what for (Driftgraph-Purpose).",
            "small_cells": "Who does not see figures of a few claims: viewers, or everyone, programs too.",
            "small_cell_minimum": "Claims from which on figures are shown; empty: as the server is set.",
        }
        widgets: ClassVar[dict[str, forms.Widget]] = {"timezone": forms.TextInput()}

    def clean(self) -> dict[str, Any]:
        """The fields, with what the service would refuse shown beside them."""
        cleaned = super().clean() or self.cleaned_data
        if not self.errors:
            try:
                organization_check(Organization(**cleaned))
            except AppError as refusal:
                self.add_error(refusal.path[0], refusal.message)
        return cleaned


class PersonField(forms.ModelChoiceField):  # type: ignore[type-arg]  # it takes parameters in django-stubs, none when it runs
    """A person, by the e-mail address: for who may not see the list of all."""

    widget = forms.EmailInput

    def to_python(self, value: Any) -> User | None:
        """The person of the address, in whatever case it is typed."""
        found: User | None = super().to_python(User.normalize_username(value or ""))
        return found


class MembershipForm(forms.ModelForm):  # type: ignore[type-arg]  # generic in the stubs alone
    """A person's role."""

    role = forms.ChoiceField(choices=[(role.value, role.value.title()) for role in Role if role is not Role.SERVICE])

    class Meta:
        model = Membership
        fields = ("user", "role")

    def clean_role(self) -> Role:
        """The role itself, as the services take it."""
        return Role(self.cleaned_data["role"])


class TokenForm(forms.ModelForm):  # type: ignore[type-arg]  # generic in the stubs alone
    """A new API token."""

    scopes = forms.MultipleChoiceField(
        choices=[(right.value, right.value) for right in Right],
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text="A SERVICE token needs at least one; without any, a token of another role has all rights of it.",
    )
    days = forms.IntegerField(min_value=1, max_value=MAX_TOKEN_DAYS, initial=90, help_text="Until it expires.")

    class Meta:
        model = ApiToken
        fields = ("name", "role", "scopes")

    def clean(self) -> dict[str, Any]:
        """The fields, with the expiry that follows from the days."""
        cleaned = super().clean() or self.cleaned_data
        if "days" in cleaned:
            cleaned["expires_at"] = timezone.now() + timedelta(days=cleaned["days"], minutes=-1)
        return cleaned
