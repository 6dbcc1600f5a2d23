"""Services for people, their tokens and sessions.

They know nothing of HTTP; that is in `authentication.py`.
"""

from collections.abc import Collection
from datetime import datetime, timedelta
from uuid import UUID

from django.contrib.auth.password_validation import validate_password
from django.contrib.sessions.models import Session
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, transaction
from django.db.models import Model, Q, QuerySet
from django.utils import timezone

from accounts import departures, tokens
from accounts.models import ApiToken, TokenScope, User
from common import audit, lengths
from common.db import database_now
from common.errors import Conflict, Forbidden, InvalidInput, NotFound, Unauthenticated

# How exact `last_used_at` is: a busy token costs one write per minute, not one per request.
LAST_USED_PRECISION = timedelta(minutes=1)
LIST_LIMIT = 200
SESSION_BATCH = 1000


def _columns(model: type[Model]) -> list[str]:
    """The columns of all fields, in the order in which `from_db` takes them."""
    return [field.attname for field in model._meta.concrete_fields]


_TOKEN_COLUMNS = _columns(ApiToken)
_USER_COLUMNS = _columns(User)


# In SQL, because it runs for every request, and the ORM takes longer than the database.
_BY_DIGEST = f"""
    SELECT statement_timestamp(), {", ".join(f"token.{name}" for name in _TOKEN_COLUMNS)},
        {", ".join(f"account.{name}" for name in _USER_COLUMNS)}
    FROM api_token token JOIN account_user account ON account.id = token.user_id
    WHERE token.digest = %s
"""  # noqa: S608  (the names are the models' own)


def create_user(*, email: str, password: str, is_staff: bool = False) -> User:
    """Register an account; staff are administrators with every right.

    The strength of the password is not checked here, but by the forms. Raises InvalidInput
    `email_invalid` or `password_missing`, and Conflict `email_taken` (regardless of upper and lower
    case, and also if two registrations run at once).
    """
    email = email.strip()
    _check_email(email)
    if not password:
        raise InvalidInput("password_missing", "Give the account a password.")
    try:
        with transaction.atomic():
            user = User.objects.create_user(
                email, password, is_staff=is_staff, is_superuser=is_staff
            )
            _record("created", user)
            return user
    except IntegrityError as exc:
        raise Conflict(
            "email_taken", "An account with this e-mail address exists already."
        ) from exc


def check_password(password: str, *, email: str) -> None:
    """Raises InvalidInput `password_weak` for what the registration form refuses, too."""
    try:
        validate_password(password, user=User(email=email.strip()))
    except ValidationError as exc:
        raise InvalidInput("password_weak", " ".join(exc.messages)) from exc


def get_user(*, email: str) -> User:
    """The account with an e-mail address, regardless of upper and lower case."""
    user = User.objects.filter(email__iexact=email.strip()).first()
    if user is None:
        raise NotFound(
            "user_not_found",
            f"No account has the e-mail address {email}. Register it first, or check the spelling.",
        )
    return user


def find_user_id(*, email: str) -> UUID | None:
    """The id of the account with an e-mail address; None if there is none."""
    return User.objects.filter(email__iexact=email.strip()).values_list("id", flat=True).first()


def require_deletable(user_id: UUID) -> None:
    """Raises Conflict, with advice, while an account owns what must not lose its owner."""
    for check in departures.obstacles:
        check(user_id)


def delete_user(*, user_id: UUID) -> None:
    """Delete an account with its tokens and grants.

    Raises Conflict `account_in_use` if the account is just being used, and what
    `require_deletable` raises.
    """
    require_deletable(user_id)
    try:
        with transaction.atomic():
            for call in departures.let_go:
                call(user_id)
            require_deletable(user_id)  # again, now that nothing can change any more
            for user in User.objects.filter(id=user_id):
                _record("deleted", user)
            User.objects.filter(id=user_id).delete()
            connection.check_constraints()
    except IntegrityError as exc:
        raise Conflict(
            "account_in_use", "The account does something just now. Switch it off, and try again."
        ) from exc


def latest_users(*, limit: int = LIST_LIMIT) -> list[User]:
    """Accounts, newest first, for the operator."""
    return list(User.objects.order_by("-id")[:limit])


def enable_user(user: User) -> None:
    """Let an account log in again. Repeating it changes nothing."""
    with transaction.atomic():
        User.objects.filter(id=user.id).update(is_active=True)
        _record("enabled", user)


def disable_user(user: User) -> None:
    """End an account's sessions and tokens until it is enabled; its files stay.

    Raises Conflict `last_administrator`, in any race: somebody has to be able to undo it.
    """
    with transaction.atomic():
        administrators = User.objects.filter(is_superuser=True, is_active=True)
        left = [each.id for each in administrators.order_by("id").select_for_update()]
        if left == [user.id]:
            raise Conflict(
                "last_administrator",
                f"{user.email} is the only administrator who can log in. Make another one first.",
            )
        User.objects.filter(id=user.id).update(is_active=False)
        _record("disabled", user)


def create_token(
    *,
    user: User,
    name: str,
    scopes: Collection[str] | None = None,
    expires_at: datetime | None = None,
) -> tuple[ApiToken, str]:
    """Create a token. Returns it with its text, which is stored nowhere. No `scopes` means all."""
    name = name.strip()
    if not 1 <= len(name) <= lengths.TOKEN_NAME or not name.isprintable():
        raise InvalidInput(
            "token_name_invalid", f"Name the token with 1 to {lengths.TOKEN_NAME} characters."
        )
    if expires_at is not None and expires_at <= database_now():
        raise InvalidInput("token_expiry_past", "The token's expiry must lie in the future.")
    text = tokens.generate()
    with transaction.atomic():
        token = ApiToken.objects.create(
            user=user,
            name=name,
            hint=tokens.hint(text),
            digest=tokens.digest(text),
            scopes=_known_scopes(scopes),
            expires_at=expires_at,
        )
        audit.record("token.created", subject="token", subject_id=token.id, label=name)
    return token, text


def list_tokens(*, user: User, limit: int = LIST_LIMIT) -> list[ApiToken]:
    """A user's tokens, including revoked ones, newest first."""
    return list(ApiToken.objects.select_related("user").filter(user=user).order_by("-id")[:limit])


def latest_tokens(*, limit: int = LIST_LIMIT) -> list[ApiToken]:
    """The tokens of all users, newest first, for the operator."""
    return list(ApiToken.objects.select_related("user").order_by("-id")[:limit])


def find_token(*, reference: str) -> ApiToken:
    """Any user's token by its id or its hint, for the operator.

    Raises NotFound `token_not_found`, Conflict `token_ambiguous` (two tokens share the hint).
    """
    found = list(
        ApiToken.objects.select_related("user")
        .filter(_reference_filter(reference))
        .order_by("id")[:2]
    )
    if not found:
        raise _token_not_found()
    if len(found) > 1:
        raise Conflict(
            "token_ambiguous", f"More than one token begins with {reference}. Use the token's id."
        )
    return found[0]


def revoke_token(*, user: User, token_id: UUID) -> ApiToken:
    """Revoke a token of `user`. Repeating it changes nothing. Other users' tokens are not found."""
    own = ApiToken.objects.filter(user=user, id=token_id)
    revoke(own)
    token = own.first()
    if token is None:
        raise _token_not_found()
    return token


def revoke(selection: QuerySet[ApiToken]) -> int:
    """Revoke those tokens of a selection that are not revoked yet. Returns how many there were."""
    with transaction.atomic():
        living = selection.filter(revoked_at=None).select_for_update(of=("self",))
        names = dict(living.values_list("id", "name"))
        for token_id, name in names.items():
            audit.record("token.revoked", subject="token", subject_id=token_id, label=name)
        return ApiToken.objects.filter(id__in=names).update(revoked_at=timezone.now())


def authenticate_token(text: str) -> ApiToken:
    """The valid token with this text, with its user loaded, in one query.

    Raises Unauthenticated `token_invalid`, `token_revoked`, `token_expired`, and Forbidden
    `account_inactive`. Only the holder of the real token learns more than "invalid".
    """
    token = _token_with(tokens.digest(text)) if tokens.looks_valid(text) else None
    if token is None:
        raise Unauthenticated(
            "token_invalid", "This API token is not known. Check that it was copied whole."
        )
    if token.revoked_at is not None:
        raise Unauthenticated("token_revoked", "This API token was revoked. Create a new one.")
    if token.expires_at is not None and token.expires_at <= token.read_at:
        raise Unauthenticated("token_expired", "This API token has expired. Create a new one.")
    if not token.user.is_active:
        raise Forbidden("account_inactive", "The account of this API token is switched off.")
    return token


def _token_with(digest: str) -> ApiToken | None:
    with connection.cursor() as cursor:
        cursor.execute(_BY_DIGEST, [digest])
        row = cursor.fetchone()
    if row is None:
        return None
    read_at, columns, of_token = row[0], row[1:], len(_TOKEN_COLUMNS)
    token = ApiToken.from_db(connection.alias, _TOKEN_COLUMNS, columns[:of_token])
    token.user = User.from_db(connection.alias, _USER_COLUMNS, columns[of_token:])
    token.read_at = read_at
    return token


def note_use(token: ApiToken) -> bool:
    """Update `last_used_at` unless it is recent. Returns whether this call updated it.

    The UPDATE checks the condition as well, so of several simultaneous requests only one writes.
    """
    now = timezone.now()
    stale = now - LAST_USED_PRECISION
    if token.last_used_at is not None and token.last_used_at > stale:
        return False
    unused = Q(last_used_at=None) | Q(last_used_at__lte=stale)
    return ApiToken.objects.filter(unused, id=token.id).update(last_used_at=now) == 1


def purge_sessions() -> int:
    """Delete a batch of expired sessions, which Django never does. Returns how many."""
    expired = Session.objects.filter(expire_date__lt=timezone.now()).order_by("expire_date")
    keys = list(expired.values_list("session_key", flat=True)[:SESSION_BATCH])
    # The condition is checked again: a session that was used meanwhile has a new date.
    deleted, _ = expired.filter(session_key__in=keys).delete()
    return deleted


def _record(action: str, user: User) -> None:
    audit.record(f"user.{action}", subject="user", subject_id=user.pk, label=user.email)


def _check_email(email: str) -> None:
    try:
        User._meta.get_field("email").clean(email, None)
    except ValidationError as exc:
        raise InvalidInput("email_invalid", f"{email!r} is not an e-mail address.") from exc


def _known_scopes(scopes: Collection[str] | None) -> list[str]:
    if scopes is None:
        return list(TokenScope.values)
    unknown = set(scopes) - set(TokenScope.values)
    if unknown or not scopes:
        named = ", ".join(sorted(unknown)) or "none"
        raise InvalidInput(
            "scope_unknown",
            f"Scopes can be {', '.join(TokenScope.values)}; given: {named}.",
        )
    return [scope for scope in TokenScope.values if scope in scopes]


def _reference_filter(reference: str) -> Q:
    try:
        return Q(id=UUID(reference))
    except ValueError:
        return Q(hint=reference)


def _token_not_found() -> NotFound:
    return NotFound("token_not_found", "There is no such API token. List them to see their ids.")
