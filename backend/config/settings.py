"""Django settings, derived from backend.config.env; what a deployment may change is decided there, not here."""

import sys

from backend.config import env
from backend.config.databases import databases
from backend.core.geometry import NoGeometry
from backend.core.log_lines import without_expected_traceback

ENVIRONMENT = env.read_environment()
BASE_DIR = env.BASE_DIR

SECRET_KEY = ENVIRONMENT.secret_key
SECRET_KEY_FALLBACKS = ENVIRONMENT.secret_key_fallbacks.split()
DEBUG = False
ALLOWED_HOSTS = [host.strip() for host in ENVIRONMENT.allowed_hosts.split(",") if host.strip()]

INSTALLED_APPS = [
    "backend.core",  # first: its migrate command runs as the owner role
    "whitenoise.runserver_nostatic",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "procrastinate.contrib.django",
    "backend.migration_safety",
    "backend.accounts",
    "backend.payers",
    "backend.claims",
    "backend.drift",
    "backend.alerts",
    "backend.agents",
    "backend.audit",
    "backend.usage",
    "backend.retention",
    "schema",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "backend.config.urls"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

# The hook before commits reads operations alone where there is no database: it must not depend on a server.
DATABASES = databases(ENVIRONMENT, may_be_missing=sys.argv[1:2] == ["lint_migrations"] and "--report" in sys.argv)
DATABASE_ROUTERS: list[str] = []
MIGRATION_SAFETY = {
    "SCRATCH": "backend.config.scratch.scratch_database",
    "OWNER": "owner",
    "OWNER_MISSING": "Set DRIFTGRAPH_OWNER_DATABASE_URL: migrations run as the role that owns the tables.",
    "TENANT_COLUMN": "organization_id",
    "REPORT": "backend.agents.reports.report",
}
# A worker imports the jobs when it starts to work; nothing else needs them, nor what they need.
PROCRASTINATE_AUTODISCOVER_MODULE_NAME = ""
PROCRASTINATE_IMPORT_PATHS = sorted(f"backend.{file.parent.name}.tasks" for file in BASE_DIR.glob("backend/*/tasks.py"))
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = ["django.contrib.auth.backends.ModelBackend"]
if ENVIRONMENT.has_oidc:
    AUTHENTICATION_BACKENDS.append("backend.accounts.identities.IdentityBackend")
PASSWORD_HASHERS = ["django.contrib.auth.hashers.Argon2PasswordHasher"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
LOGIN_URL = LOGOUT_REDIRECT_URL = "/accounts/login/"
LOGIN_REDIRECT_URL = "/graphql"

SESSION_COOKIE_AGE = ENVIRONMENT.session_hours * 3600
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = ENVIRONMENT.is_production
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SECURE_HSTS_SECONDS = 31_536_000 if ENVIRONMENT.is_production else 0
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if ENVIRONMENT.is_production else None
X_FRAME_OPTIONS = "DENY"

GDAL_LIBRARY_PATH = NoGeometry()
LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = False

STATIC_URL = "/static/"
WHITENOISE_USE_FINDERS = True

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {
        "refusals": {"()": "django.utils.log.CallbackFilter", "callback": without_expected_traceback},
    },
    "formatters": {
        "line": {
            "()": "backend.core.log_lines.WithoutValues",
            "format": "%(asctime)s %(levelname)s %(name)s %(message)s",
        }
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": "INFO"},
    "loggers": {
        # Statements carry values, which may be PHI: never logged, whatever the level of the root.
        "django.db.backends": {"level": "WARNING"},
        "django.request": {"filters": ["refusals"]},
        "procrastinate": {"level": "WARNING"},
    },
}
