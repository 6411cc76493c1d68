"""Files of the data directory that tell how far the demo data is; that it is loaded is in loading.py."""

from pathlib import Path
from tempfile import TemporaryFile

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


def make_data_directory() -> None:
    """Makes it where it is not there, as it need not be where the database is elsewhere.

    Raises: FolderNotUsable.
    """
    folder = settings.ENVIRONMENT.data_dir
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise FolderNotUsable(folder=folder, reason=error.strerror) from error


def begin_loading() -> None:
    """Leaves the mark.

    Raises: FolderNotUsable.
    """
    make_data_directory()
    loading_mark().touch()


def end_loading(secret: str) -> None:
    """Keeps the secret, for this account alone, and takes the mark away."""
    token_file().touch(mode=0o600)
    token_file().write_text(secret, encoding="utf-8")
    loading_mark().unlink()
