"""Tables of people, organizations, memberships, API tokens and idempotency keys."""

from typing import ClassVar

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.models import PermissionsMixin
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower, Now

from backend.core.actor import Right, Role, SmallCells
from backend.core.constraints import ChangeAudit, check, one_of
from backend.core.ids import uuid7
from backend.core.tenant_models import TenantModel
from backend.detection.config import LARGEST_Q


class UserAccounts(BaseUserManager["User"]):
    """Creates users and finds them by their address, in whatever case it is typed."""

    def get_by_natural_key(self, username: str | None) -> "User":
        """The person of an address. SQL: 1."""
        return super().get_by_natural_key(self.model.normalize_username(username or ""))

    async def aget_by_natural_key(self, username: str | None) -> "User":
        """The person of an address. SQL: 1."""
        return await super().aget_by_natural_key(self.model.normalize_username(username or ""))

    def create_user(self, email: str, password: str | None = None, **extra: object) -> "User":
        """A person who signs in with an e-mail address."""
        user = self.model(email=self.model.normalize_username(email), **extra)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **extra: object) -> "User":
        """A platform administrator, who has no access to any organization's data."""
        return self.create_user(email, password, is_staff=True, is_superuser=True, **extra)


class User(AbstractBaseUser, PermissionsMixin):
    """A person; belongs to organizations by memberships."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    email = models.EmailField(unique=True)
    name = models.CharField(max_length=120, blank=True)
    is_active = models.BooleanField(default=True)
    is_staff = models.BooleanField(default=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    objects: ClassVar[UserAccounts] = UserAccounts()
    USERNAME_FIELD = "email"

    class Meta:
        db_table = "user_account"
        constraints = [check("user_account", "email", Q(email=Lower("email")))]

    @classmethod
    def normalize_username(cls, username: str) -> str:
        """The address as it is kept, so that no two accounts differ in case alone; Django's forms ask for it too.

        Letters that are the same to Unicode are one, as they are to Django's form: else attempts would be of others.
        """
        return super().normalize_username(username).strip().casefold()


class Identity(models.Model):
    """A person as an OpenID provider knows them; made when they first sign in by it, and found by nothing else then.

    A person has one per provider: who else comes to have the person's e-mail address there gets no access.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    user = models.ForeignKey(User, models.CASCADE, related_name="+", db_index=False)
    issuer = models.TextField()
    subject = models.TextField()
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        db_table = "user_account_identity"
        verbose_name_plural = "identities"
        constraints = [
            models.UniqueConstraint(fields=["issuer", "subject"], name="user_account_identity_subject_uq"),
            models.UniqueConstraint(fields=["user", "issuer"], name="user_account_identity_user_uq"),
            check("user_account_identity", "issuer", ~Q(issuer="")),
            check("user_account_identity", "subject", ~Q(subject="")),
        ]


class PhiPolicy(models.TextChoices):
    """What happens to free text in which the PHI scanner finds something."""

    REJECT = "REJECT"
    REDACT = "REDACT"


class Organization(models.Model):
    """The tenant. It has no row-level security of its own: it holds no patient data, and sign-in needs its name."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    name = models.TextField(unique=True)
    timezone = models.TextField(default="UTC")
    phi_policy = models.TextField(choices=PhiPolicy.choices, default=PhiPolicy.REJECT)
    retention_days = models.IntegerField(default=760)
    fdr_q = models.FloatField(default=0.05)
    severity_lift_cents = models.BigIntegerField(default=5_000_000)
    # Claim rows are shown only to requests that say what for (the header Driftgraph-Purpose).
    purpose_required = models.BooleanField(default=False, db_default=False)
    # Who does not see figures of cells of a few claims; from how many on they are shown, null: as the server says.
    small_cells = models.TextField(
        choices=[(one.value, one.value.title()) for one in SmallCells],
        default=SmallCells.VIEWERS,
        db_default=SmallCells.VIEWERS.value,
    )
    small_cell_minimum = models.IntegerField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        db_table = "organization"
        constraints = [
            one_of("organization", "phi_policy", PhiPolicy),
            one_of("organization", "small_cells", SmallCells),
            check("organization", "small_cell_minimum", Q(small_cell_minimum__gt=0)),
            check("organization", "retention_days", Q(retention_days__gt=0)),
            check("organization", "fdr_q", Q(fdr_q__gt=0, fdr_q__lt=1)),
            check("organization", "fdr_q_largest", Q(fdr_q__lte=LARGEST_Q)),
            check("organization", "severity_lift_cents", Q(severity_lift_cents__gt=0)),
            check("organization", "name", ~Q(name="")),
            check("organization", "name_controls", ~Q(name__regex=r"[\u0001-\u001f\u007f-\u009f]")),
            ChangeAudit(name="organization_audit", tenant="id"),
        ]

    def __str__(self) -> str:
        return self.name


class Membership(TenantModel):
    """A person's role in an organization."""

    user = models.ForeignKey(User, models.CASCADE, related_name="+")
    role = models.TextField(choices=[(role.value, role.value.title()) for role in Role])

    class Meta:
        db_table = "membership"
        constraints = [
            models.UniqueConstraint(fields=["organization", "user"], name="membership_user_uq"),
            one_of("membership", "role", Role),
        ]


class EmergencyAccess(TenantModel):
    """The role that somebody who is no member has in an organization for a time; kept when it is over."""

    user = models.ForeignKey(User, models.CASCADE, related_name="+")
    role = models.TextField(choices=[(role.value, role.value.title()) for role in Role])
    reason = models.TextField()
    expires_at = models.DateTimeField()

    class Meta:
        db_table = "emergency_access"
        constraints = [
            one_of("emergency_access", "role", Role),
            check("emergency_access", "reason", ~Q(reason="")),
        ]


class ApiToken(TenantModel):
    """A program's key: only the SHA-256 of its secret is kept."""

    signs_of_life = ("last_used_at",)

    name = models.TextField()
    hash = models.BinaryField(unique=True)
    role = models.TextField(choices=[(role.value, role.value.title()) for role in Role], default=Role.SERVICE)
    scopes = ArrayField(models.TextField())
    created_by = models.ForeignKey(User, models.SET_NULL, null=True, related_name="+")
    expires_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True)
    last_used_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "api_token"
        constraints = [
            models.UniqueConstraint(fields=["organization", "name"], name="api_token_name_uq"),
            one_of("api_token", "role", Role),
            check("api_token", "scopes", Q(scopes__contained_by=[right.value for right in Right])),
        ]


class IdempotencyKey(TenantModel):
    """The answer to a mutation that carried a key, so that a retry has no second effect."""

    principal = models.UUIDField()
    key = models.TextField()
    request_hash = models.BinaryField()
    response = models.JSONField()

    class Meta:
        db_table = "idempotency_key"
        constraints = [
            models.UniqueConstraint(fields=["organization", "principal", "key"], name="idempotency_key_key_uq"),
        ]
