"""The Ansible collection ``contrail.servers``, shipped in the wheel.

``PATH`` is what ``ANSIBLE_COLLECTIONS_PATH`` wants.
Nothing in it is imported here: its modules run on the servers, with the standard library of Python 3.9.
"""

from pathlib import Path
from typing import Final

PATH: Final = Path(__file__).parent
