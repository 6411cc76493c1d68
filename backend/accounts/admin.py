"""The admin of organizations, people, members and API tokens; every change goes through a service."""

from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.contrib.auth.admin import UserAdmin
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse

from backend.accounts.admin_forms import (
    MembershipForm,
    OrganizationForm,
    PersonChangeForm,
    PersonCreationForm,
    PersonField,
    TokenForm,
)
from backend.accounts.admin_site import (
    actor_in,
    admin_actor,
    chosen_organization,
    managed_organizations,
    pick_organization,
    site,
)
from backend.accounts.errors import NoSuchPerson, OutOfReach
from backend.accounts.models import ApiToken, Identity, Membership, Organization, User
from backend.accounts.services import (
    membership_remove,
    membership_set,
    organization_change,
    organization_create,
    token_create,
    token_revoke,
)
from backend.accounts.sign_in import provider_name
from backend.core.actor import Right, Role
from backend.core.errors import AppError

_SECRET = "new_token_secret"  # noqa: S105 - the request's attribute on the way from the service to the answer


class ServiceAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # it takes parameters in django-stubs, none when it runs
    """A page whose changes are services: their refusals are shown, and nothing was written."""

    def _refusable(
        self, view: Callable[..., HttpResponseBase], request: HttpRequest, *args: Any, **kwargs: Any
    ) -> HttpResponseBase:
        try:
            return view(request, *args, **kwargs)
        except AppError as refusal:
            self.message_user(request, refusal.message, messages.ERROR)
            return HttpResponseRedirect(request.get_full_path())

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """Django's page, or itself again with the refusal."""
        return self._refusable(super().changeform_view, request, *args, **kwargs)

    def delete_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """Django's page, or itself again with the refusal."""
        return self._refusable(super().delete_view, request, *args, **kwargs)


class TenantRows(ServiceAdmin):
    """Rows of the picked organization, for the platform's superusers and for who manages it."""

    def changelist_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """Django's list; without an organization it is empty, and says why."""
        if chosen_organization(request) is None:
            self.message_user(request, "Pick an organization first (Organizations, action).", messages.WARNING)
        return super().changelist_view(request, *args, **kwargs)

    def has_module_permission(self, request: HttpRequest) -> bool:
        """For who manages some organization, too."""
        return super().has_module_permission(request) or bool(managed_organizations(request))

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Only within an organization."""
        is_open = super().has_add_permission(request) or _manages(request)
        return chosen_organization(request) is not None and is_open

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """For who manages the picked organization, too."""
        return super().has_view_permission(request, obj) or _manages(request)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """For who manages the picked organization, too."""
        return super().has_change_permission(request, obj) or _manages(request)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """For who manages the picked organization, too."""
        return super().has_delete_permission(request, obj) or _manages(request)


def _manages(request: HttpRequest) -> bool:
    """Whether the picked organization is the person's to manage; any one, while none is picked."""
    chosen, mine = chosen_organization(request), managed_organizations(request)
    return bool(mine) if chosen is None else chosen in mine


@admin.register(Organization, site=site)
class OrganizationAdmin(ServiceAdmin):
    """Organizations; one is picked here for the other pages. Settings are changed by who manages the organization."""

    form = OrganizationForm
    list_display = ("name", "timezone", "phi_policy", "retention_days", "created_at")
    search_fields = ("name",)
    actions = ("pick",)

    def get_fields(self, request: HttpRequest, obj: Organization | None = None) -> Any:
        """A new organization begins with a name and a time zone; the rest has defaults."""
        return super().get_fields(request, obj) if obj else ("name", "timezone")

    def get_readonly_fields(self, request: HttpRequest, obj: Organization | None = None) -> tuple[str, ...]:
        """How long claims are kept is the owners' to say."""
        actor = actor_in(request, obj.id) if obj else None
        return ("retention_days",) if actor and Right.ORGANIZATION not in actor.rights else ()

    def get_queryset(self, request: HttpRequest) -> QuerySet[Organization]:
        """All, for the platform's superusers; for others those that they manage."""
        found: QuerySet[Organization] = super().get_queryset(request)
        return found if super().has_view_permission(request) else found.filter(id__in=managed_organizations(request))

    def has_module_permission(self, request: HttpRequest) -> bool:
        """For who manages some organization, too."""
        return super().has_module_permission(request) or bool(managed_organizations(request))

    def has_view_permission(self, request: HttpRequest, obj: Organization | None = None) -> bool:
        """For who manages the organization, too; `get_queryset` leaves out what is somebody else's."""
        return super().has_view_permission(request, obj) or bool(managed_organizations(request))

    def has_change_permission(self, request: HttpRequest, obj: Organization | None = None) -> bool:
        """As a member or by emergency access, never as the platform's superuser alone."""
        if obj is None:
            return self.has_view_permission(request)
        actor = actor_in(request, obj.id)
        return actor is not None and Right.MEMBERS in actor.rights

    def save_model(self, request: HttpRequest, obj: Organization, form: "ModelForm[Any]", change: bool) -> None:  # noqa: ARG002 - Django's signature
        """Makes or changes the organization by the service, which checks it."""
        if change:
            actor = actor_in(request, obj.id)
            if actor is None:
                raise OutOfReach
            organization_change(actor=actor, organization=obj)
        else:
            obj.pk = organization_create(name=obj.name, timezone_name=obj.timezone).pk

    def has_delete_permission(self, _request: HttpRequest, _obj: Organization | None = None) -> bool:
        """Never: what an organization owns must be retained, and ends by retention."""
        return False

    @admin.action(description="Work on this organization")
    def pick(self, request: HttpRequest, chosen: QuerySet[Organization]) -> HttpResponse | None:
        """Picks exactly one organization for the pages of members and tokens."""
        try:
            organization = chosen.get()
        except (Organization.MultipleObjectsReturned, Organization.DoesNotExist):
            self.message_user(request, "Choose one organization.", messages.ERROR)
            return None
        try:
            pick_organization(request, organization)
        except OutOfReach as refusal:
            self.message_user(request, refusal.message, messages.ERROR)
            return None
        return HttpResponseRedirect(reverse("admin:index"))


class IdentityInline(admin.TabularInline):  # type: ignore[type-arg]  # it takes parameters in django-stubs, none when it runs
    """How OpenID providers know the person; what one says makes it, and taking it away lets it be made anew."""

    model = Identity
    fields = readonly_fields = ("issuer", "subject", "created_at")
    extra = 0

    def has_add_permission(self, _request: HttpRequest, _obj: User | None = None) -> bool:
        """Never: what a provider says makes it."""
        return False


@admin.register(User, site=site)
class PersonAdmin(UserAdmin):  # type: ignore[type-arg]  # it takes parameters in django-stubs, none when it runs
    """People. One who leaves is made inactive: what a person did keeps pointing at the person."""

    form = PersonChangeForm
    add_form = PersonCreationForm
    ordering = ("email",)
    list_display = ("email", "name", "is_active", "is_staff")
    list_filter = ("is_active", "is_staff")
    search_fields = ("email", "name")
    filter_horizontal = ()
    readonly_fields = ("last_login",)
    fieldsets = (
        (None, {"fields": ("email", "name", "password")}),
        ("Access", {"fields": ("is_active", "is_staff", "is_superuser", "last_login")}),
    )
    add_fieldsets = ((None, {"fields": ("email", "name", "password1", "password2")}),)

    def get_inlines(self, _request: HttpRequest, obj: User | None) -> Any:
        """Identities of a person that there is, where the settings name a provider."""
        return (IdentityInline,) if obj and provider_name() else ()

    def has_delete_permission(self, _request: HttpRequest, _obj: User | None = None) -> bool:
        """Never."""
        return False


@admin.register(Membership, site=site)
class MembershipAdmin(TenantRows):
    """Members of the picked organization."""

    form = MembershipForm
    list_display = ("email", "role", "created_at")
    list_select_related = ("user",)
    autocomplete_fields = ("user",)
    ordering = ("created_at",)
    actions = None

    @admin.display(description="Person")
    def email(self, membership: Membership) -> str:
        """The member's address."""
        return membership.user.email

    def get_autocomplete_fields(self, request: HttpRequest) -> tuple[str, ...]:
        """The list of all people is the platform's."""
        return ("user",) if request.user.has_perm("accounts.view_user") else ()

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """People by their address, for who may not look them up in the list."""
        if db_field.name in self.get_autocomplete_fields(request) or db_field.name != "user":
            return super().formfield_for_foreignkey(db_field, request, **kwargs)
        unknown = {"invalid_choice": NoSuchPerson().message}
        return db_field.formfield(form_class=PersonField, to_field_name="email", error_messages=unknown)

    def get_readonly_fields(self, _request: HttpRequest, obj: Membership | None = None) -> tuple[str, ...]:
        """A membership keeps its person."""
        return ("user",) if obj else ()

    def save_model(self, request: HttpRequest, obj: Membership, form: "ModelForm[Any]", change: bool) -> None:  # noqa: ARG002 - Django's signature
        """Sets the role by the service, which keeps the last owner."""
        obj.pk = membership_set(actor=admin_actor(request), user_id=obj.user_id, role=Role(obj.role)).pk

    def delete_model(self, request: HttpRequest, obj: Membership) -> None:
        """Ends the membership by the service, which keeps the last owner."""
        membership_remove(actor=admin_actor(request), user_id=obj.user_id)


@admin.register(ApiToken, site=site)
class TokenAdmin(TenantRows):
    """API tokens of the picked organization; the secret of a new one is shown once, in the answer itself."""

    form = TokenForm
    fields = ("name", "role", "scopes", "days")
    list_display = ("name", "role", "scopes", "created_by", "expires_at", "revoked_at", "last_used_at")
    list_select_related = ("created_by",)
    ordering = ("name",)
    actions = ("revoke",)

    def has_change_permission(self, request: HttpRequest, obj: ApiToken | None = None) -> bool:
        """The list and its actions, never a form: a token is revoked and replaced, not changed."""
        return obj is None and super().has_change_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: ApiToken | None = None) -> bool:
        """The list alone."""
        return obj is None and super().has_view_permission(request)

    def get_list_display_links(self, _request: HttpRequest, _list_display: Any) -> tuple[()]:
        """None: there is no page of one token."""
        return ()

    def has_delete_permission(self, _request: HttpRequest, _obj: ApiToken | None = None) -> bool:
        """Never: a revoked token stays as a record."""
        return False

    def save_model(self, request: HttpRequest, obj: ApiToken, form: "ModelForm[Any]", change: bool) -> None:  # noqa: ARG002 - Django's signature
        """Makes the token by the service and keeps its secret for the answer."""
        token, secret = token_create(
            actor=admin_actor(request),
            name=obj.name,
            role=Role(obj.role),
            scopes=form.cleaned_data["scopes"],
            expires_at=form.cleaned_data["expires_at"],
        )
        obj.pk, obj.expires_at = token.pk, token.expires_at
        setattr(request, _SECRET, secret)

    def response_add(self, request: HttpRequest, obj: ApiToken, post_url_continue: str | None = None) -> HttpResponse:  # noqa: ARG002 - Django's signature
        """The page with the secret. A message would put it into a cookie; pages here are never cached."""
        context = {
            **self.admin_site.each_context(request),
            "title": "API token created",
            "token": obj,
            "secret": getattr(request, _SECRET),
            "opts": self.opts,
        }
        return TemplateResponse(request, "admin/accounts/apitoken/secret.html", context)

    @admin.action(description="Revoke", permissions=["change"])
    def revoke(self, request: HttpRequest, chosen: QuerySet[ApiToken]) -> None:
        """Revokes the chosen tokens."""
        for token in chosen:
            token_revoke(actor=admin_actor(request), token_id=token.pk)
        self.message_user(request, f"Revoked: {len(chosen)}.", messages.SUCCESS)
