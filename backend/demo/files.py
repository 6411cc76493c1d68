"""Files of the data directory that tell how far the demo data is; that it is loaded is in loading.py."""

from pathlib import Path

from django.conf import settings

from backend.db.embedded_errors import FolderNotUsable


def token_file() -> Path:
    """Where the secret of the demo token is kept; there when the demo data has been loaded."""
    found: Path = settings.ENVIRONMENT.data_dir / "demo-token"
    return found


def loading_mark() -> Path:
    """There while demo data is being loaded: a load that broke off is taken up again."""
    found: Path = settings.ENVIRONMENT.data_dir / "demo-loading"
    return found


def begin_loading() -> None:
    """Leaves the mark; the data directory need not be there where the database is elsewhere.

    Raises: FolderNotUsable.
    """
    mark = loading_mark()
    try:
        mark.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        mark.touch()
    except OSError as error:
        raise FolderNotUsable(folder=mark.parent, reason=error.strerror) from error


def end_loading(secret: str) -> None:
    """Keeps the secret, for this account alone, and takes the mark away."""
    token_file().touch(mode=0o600)
    token_file().write_text(secret, encoding="utf-8")
    loading_mark().unlink()
