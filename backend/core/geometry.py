"""What stands for the library of geometry that the product does not use."""

from django.core.exceptions import ImproperlyConfigured


class NoGeometry:
    """The path of GDAL: there is none.

    Without a path strawberry_django, when it is imported, has Django look for the library under twelve names, twice, by
    dozens of compiler and linker processes.
    """

    def __fspath__(self) -> str:
        """Raises: ImproperlyConfigured, which is how Django says that GDAL is missing."""
        raise ImproperlyConfigured("GDAL is not used.")
