"""As little as a management command needs."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent.parent))  # orders.py, which these examples share

SECRET_KEY = "not a secret: it is an example"
INSTALLED_APPS = ["shop"]
USE_TZ = True
LEDGER = os.environ.get("LEDGER", "orders.duckdb")
