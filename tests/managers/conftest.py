"""Several managers; stands of other rooms are found beside theirs."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), *(str(HERE.parent / room) for room in ("contrailvm", "scenarios"))]
