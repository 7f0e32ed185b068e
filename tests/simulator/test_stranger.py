"""Somebody installs the package for its simulator and types in what the guide shows: it works."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LIMIT = 400
"""Seconds for pip to fetch and install everything."""


def pip(python, *words):
    """Skips with pip's last line where packages cannot be fetched; in CI that is a failure."""
    command = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"pip could not install {' '.join(words)}: {reason}")


@pytest.mark.process
@pytest.mark.soak
def test_the_guide_works_in_a_fresh_environment(tmp_path):
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True, timeout=120)
    python = str(tmp_path / "venv" / "bin" / "python")
    pip(python, f"{ROOT}[simulator]", "pytest", "pytest-asyncio")
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "simulator.md").read_text(), re.DOTALL)
    program = next(block for block in blocks if "asyncio.run(main())" in block)
    test = next(block for block in blocks if "async def test_" in block)
    (tmp_path / "program.py").write_text(program)
    (tmp_path / "test_guide.py").write_text(test)
    (tmp_path / "pytest.ini").write_text("[pytest]\nasyncio_mode = auto\n")
    environment = {"PATH": os.defpath, "HOME": str(tmp_path)}
    for words in (["program.py"], ["-m", "pytest", "-q", "test_guide.py"]):
        done = subprocess.run(
            [python, *words], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
