"""The live page: one document without outside assets, kept beside this module as the file a browser would open."""

from __future__ import annotations

import base64
import hashlib
import re
from importlib import resources

PAGE = resources.files(__package__).joinpath("page.html").read_text(encoding="utf-8")


def _hashes(tag: str) -> str:
    """The document's own scripts or styles, by what they are: nothing else may run or style."""
    parts = re.findall(rf"<{tag}>(.*?)</{tag}>", PAGE, re.DOTALL)
    digests = (base64.b64encode(hashlib.sha256(part.encode()).digest()).decode() for part in parts)
    return " ".join(f"'sha256-{digest}'" for digest in digests)


PAGE_HEADERS = {
    "Content-Security-Policy": (
        f"default-src 'none'; script-src {_hashes('script')}; style-src {_hashes('style')}; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
