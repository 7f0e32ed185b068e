"""A headless Chromium, driven over its own debugging protocol: open a page, hear its errors, ask it, picture it."""

import asyncio
import base64
import contextlib
import itertools
import shutil

import aiohttp

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Page:
    """One tab."""

    def __init__(self, socket):
        self._socket = socket
        self._ids = itertools.count(1)
        self._answers = {}
        self.complaints = []
        """Console errors, exceptions and refused or failed loads."""
        self._reader = asyncio.ensure_future(self._read())

    async def _read(self):
        async for message in self._socket:
            found = message.json()
            if "id" in found:
                self._answers.pop(found["id"]).set_result(found)
            elif found["method"] in ("Runtime.exceptionThrown", "Network.loadingFailed"):
                self.complaints.append(found["params"])
            elif found["method"] == "Log.entryAdded" and found["params"]["entry"]["level"] == "error":
                self.complaints.append(found["params"]["entry"])
            elif found["method"] == "Runtime.consoleAPICalled" and found["params"]["type"] in ("error", "warning"):
                self.complaints.append(found["params"])

    async def call(self, method, **params):
        number = next(self._ids)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": number, "method": method, "params": params})
        found = await asyncio.wait_for(answer, 20)
        assert "error" not in found, found
        return found["result"]

    async def value(self, script):
        """What a JavaScript expression gives."""
        answer = await self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    async def until(self, script, seconds=15):
        """Wait until an expression is true."""
        async with asyncio.timeout(seconds):
            while not await self.value(script):  # noqa: ASYNC110 - the page is in another process
                await asyncio.sleep(0.1)

    async def picture(self, *, scheme="light", width=1400, height=1250):
        """A PNG of the page in a colour scheme."""
        await self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        await self.call("Emulation.setDeviceMetricsOverride", **metrics)
        await asyncio.sleep(0.3)
        shot = await self.call("Page.captureScreenshot", format="png")
        return base64.b64decode(shot["data"])


@contextlib.asynccontextmanager
async def browse(url, profile):
    """Open a URL in a fresh browser whose files lie in ``profile``."""
    options = ("--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--remote-debugging-port=0")
    process = await asyncio.create_subprocess_exec(
        CHROMIUM,
        *options,
        f"--user-data-dir={profile}",
        "about:blank",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(30):
            while True:
                line = (await process.stderr.readline()).decode()
                assert line, "the browser ended at once"
                if "DevTools listening on" in line:
                    break
        drain = asyncio.ensure_future(process.stderr.read())
        port = line.split("127.0.0.1:")[1].split("/")[0]
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as web:
            async with web.get("/json/list") as answer:
                tabs = await answer.json()
            tab = next(tab for tab in tabs if tab["type"] == "page")
            async with web.ws_connect(tab["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                page = Page(socket)
                for domain in ("Runtime", "Log", "Network", "Page"):
                    await page.call(f"{domain}.enable")
                await page.call("Page.navigate", url=url)
                await page.until(f"location.href.startsWith({url!r}) && document.readyState === 'complete'")
                yield page
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()
        await drain
