"""Walks of the plugin use the stand of its tests."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "plugin"), str(HERE.parent / "plugin_ha")]
