"""The release. A leaf, so that what is deep inside may say it without importing the package's public names."""

from typing import Final

__version__: Final = "0.1.0"
