"""The whole inventory over HTTP: taken away as one JSON document, and begun anew with.

It is what ``scenario.save`` writes, with the keys of simulated guests in it; so it is as secret as the control port is.
"""

# No postponed annotations here: FastAPI reads them at run time.

import functools
import itertools
import json
import shutil
import tempfile
import weakref
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response

from contrail_vsphere.simulator.inventory_file import InventoryFileError
from contrail_vsphere.simulator.scenario import Scenario


def add_inventory(app: FastAPI, scenario: Scenario) -> None:
    """Serve ``/v1/inventory``. What was loaded stays on disk as long as the app, because a reset begins with it."""
    numbers = itertools.count(1)

    @functools.cache
    def kept() -> Path:
        """Made when it is needed: a simulator that is killed leaves nothing of it then."""
        directory = Path(tempfile.mkdtemp(prefix="simulated-inventory-"))
        weakref.finalize(app, shutil.rmtree, str(directory), ignore_errors=True)
        return directory

    @app.exception_handler(InventoryFileError)
    async def wrong(_request: Request, error: InventoryFileError) -> JSONResponse:
        return JSONResponse({"error": "InventoryFileError", "message": str(error)}, status_code=422)

    @app.get("/v1/inventory")
    async def saved() -> Response:
        """The whole inventory, for ``PUT`` here or for ``simulate vcenter --load``."""
        path = kept() / "saved.json"
        scenario.save(path)
        try:
            return Response(path.read_bytes(), media_type="application/json")
        finally:
            path.unlink()

    @app.put("/v1/inventory", status_code=204)
    async def load(document: dict[str, Any]) -> None:
        """Begin anew with a saved inventory, at the same addresses; a reset begins with it too."""
        path = kept() / f"{next(numbers)}.json"
        path.write_text(json.dumps(document))
        try:
            await scenario.load(str(path))
        except InventoryFileError:
            path.unlink()
            raise
