"""How every mutation is carried out: one service in a write thread, userErrors, idempotency, fresh reads after it."""

import dataclasses
import hashlib
import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar

import strawberry
from django.apps import apps
from django.db import Error, models
from psycopg.errors import LockNotAvailable

from backend.accounts.idempotency import key_of_part, once, request_hash
from backend.audit.models import Outcome
from backend.audit.services import record
from backend.core.actor import Actor
from backend.core.errors import AppError, BadUserInput, Forbidden
from backend.core.tenancy import acting_for, write
from backend.db.failures import is_unavailable
from schema.context import Context, context_of
from schema.errors import UserError, user_error
from schema.http.upload import UploadedFile

log = logging.getLogger("driftgraph.audit")
Values = Mapping[str, Any]
P = TypeVar("P", bound="MutationPayload")


@strawberry.input(description="What every mutation takes.")
class MutationInput:
    idempotency_key: str | None = strawberry.field(
        default=None,
        description="Text of up to 200 characters that makes a retry harmless: the same key and input give the same"
        " answer and no second effect. The header Idempotency-Key does the same for every mutation of its document,"
        " which each have their own key by it. Keys are kept for 24 hours"
        " (DRIFTGRAPH_IDEMPOTENCY_KEY_HOURS).",
    )


@strawberry.type(description="What every mutation answers.")
class MutationPayload:
    user_errors: list[UserError] = strawberry.field(
        description="What must be changed about the input; empty when the mutation was done."
    )


class NoFile(BadUserInput):
    """The variable of a file must be sent as a part of a multipart request."""


def uploaded(value: object) -> UploadedFile:
    """The file behind an Upload.

    Raises:
        NoFile: the variable holds something else.
    """
    if not isinstance(value, UploadedFile):
        raise NoFile(path=("file",))
    return value


async def carry_out(
    info: strawberry.Info,
    payload: type[P],
    data: MutationInput,
    work: Callable[[Actor], Values],
    *,
    has_effect: bool = True,
    beside: object = None,
) -> P:
    """The payload with what the work returned, or with the error that its input caused.

    `work` runs in a write thread and returns rows, lists of rows and plain values by the payload's field names. With a
    key it runs in one transaction with the key, if it has an effect that must not be had twice. `beside` is another
    argument, with which it is another request.

    Raises:
        AppError: one that no change of the input mends, such as Forbidden or Unavailable.
    """
    context = context_of(info)
    try:
        values = await context.writes.run(
            _recorded,
            context.actor,
            info.field_name,
            partial(_key, info, context, data) if has_effect else None,
            partial(_request, data, beside),
            work,
        )
    except AppError as error:
        shown = user_error(error)
        if shown is None:
            raise
        return payload(user_errors=[shown])
    finally:
        # What is selected below the payload must see what was written.
        await context.restart()
    return payload(**values, user_errors=[])


def _key(info: strawberry.Info, context: Context, data: MutationInput) -> str | None:
    """A mutation's idempotency key: its input's, else that which the request's gives it.

    Each mutation of a document has another by the request's, and in every retry the same.

    Raises:
        BadIdempotencyKey: the request's is none.
    """
    if data.idempotency_key is not None:
        return data.idempotency_key
    key = context.idempotency_key
    return key if key is None or info.path.key == context.first_key else key_of_part(key, str(info.path.key))


def _recorded(
    actor: Actor,
    name: str,
    key: Callable[[], str | None] | None,
    request: Callable[[], Values],
    work: Callable[[Actor], Values],
) -> Values:
    """What the work returned; of a mutation that fails there is an audit entry, once its transaction is undone.

    One for want of a right is a refusal, which is recorded with all others of its operation.
    """
    try:
        return _work(actor, key() if key else None, name, request, work)
    except Forbidden:
        raise
    except Exception as error:
        _record_failure(actor, name, error)
        raise


def _record_failure(actor: Actor, name: str, failure: Exception) -> None:
    """Nothing; as a refusal does, the failure stands without its entry where that cannot be written.

    SQL: BEGIN, 1 for the organization, 1, COMMIT; none where the database did not answer.
    """
    if is_unavailable(failure.__cause__) and not isinstance(failure.__cause__, LockNotAvailable):
        log.warning("request %s: that %s failed was not recorded", actor.request_id, name)
        return
    try:
        with write(actor):
            record(actor=actor, action=name, object_type="", outcome=Outcome.ERROR)
    except Error as error:
        log.error("request %s: that %s failed was not recorded: %s", actor.request_id, name, type(error).__name__)  # noqa: TRY400 - a traceback repeats values of the statement


def _work(
    actor: Actor, key: str | None, name: str, request: Callable[[], Values], work: Callable[[Actor], Values]
) -> Values:
    if key is None:
        return work(actor)

    def stored_work() -> dict[str, Any]:
        return {name: _stored(value) for name, value in work(actor).items()}

    stored = once(actor=actor, key=key, request_hash=request_hash(name, request()), work=stored_work)
    with acting_for(actor.organization_id):
        return {name: _restored(value) for name, value in stored.items()}


def _request(data: MutationInput, beside: object) -> Values:
    """What two requests with one key have in common: of a file its bytes, whatever it is called."""
    given = {field.name: getattr(data, field.name) for field in dataclasses.fields(data)}
    files = {name: _digest(value) for name, value in given.items() if isinstance(value, UploadedFile)}
    plain = dataclasses.replace(data, idempotency_key=None, **dict.fromkeys(files))
    found = {**dataclasses.asdict(plain), **files}
    return found if beside is None else {**found, "beside": beside}


def _digest(file: UploadedFile) -> str:
    with file.path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _stored(value: Any) -> Any:
    """Rows as references, so that a retry shows them as they are by then."""
    if isinstance(value, models.Model):
        return {"row": [value._meta.label, str(value.pk)]}
    return list(map(_stored, value)) if isinstance(value, (list, tuple)) else value


def _restored(value: Any) -> Any:
    if isinstance(value, dict) and "row" in value:
        label, key = value["row"]
        return apps.get_model(label)._default_manager.filter(pk=key).first()  # noqa: SLF001 - Django's documented API
    return list(map(_restored, value)) if isinstance(value, list) else value
