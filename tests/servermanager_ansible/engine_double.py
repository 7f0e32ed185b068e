"""A container engine on a unix socket: the few calls of the Docker API that the modules make, and what went wrong."""

import json
import socketserver
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs, unquote, urlsplit


class Engine:
    def __init__(self):
        self.containers = {}
        self.images = set()
        self.calls = []
        self.pull_error = ""

    def answer(self, method, path, query, body):
        self.calls.append(f"{method} {path}")
        parts = unquote(path).strip("/").split("/")
        if path == "/_ping":
            return 200, "OK"
        if parts[0] == "images" and parts[1] == "create":
            if self.pull_error:
                return 200, [{"status": "Pulling"}, {"error": self.pull_error}]
            self.images.add(query["fromImage"][0])
            return 200, [{"status": "Downloaded"}]
        if parts[0] == "images":
            name = "/".join(parts[1:-1])
            return (200, {"Id": name}) if name in self.images else (404, {"message": "no such image"})
        if parts[1] == "create":
            name = query["name"][0]
            self.containers[name] = {"Config": {"Labels": body["Labels"]}, "State": {"Running": False}, "asked": body}
            return 201, {"Id": name}
        return self._container(method, parts[1], parts[2] if len(parts) > 2 else "")

    def _container(self, method, name, verb):
        found = self.containers.get(name)
        if found is None:
            return 404, {"message": f"no such container {name}"}
        if method == "DELETE":
            del self.containers[name]
            return 204, None
        if verb == "start":
            found["State"]["Running"] = True
            return 204, None
        if verb == "stop":
            found["State"]["Running"] = False
            return 204, None
        if verb == "logs":
            return 200, "bind: address in use\n"
        return 200, found


@contextmanager
def engine(path):
    double = Engine()

    class Handler(BaseHTTPRequestHandler):
        def _do(self):
            parts = urlsplit(self.path)
            size = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(size)) if size else {}
            status, value = double.answer(self.command, parts.path, parse_qs(parts.query), body)
            if isinstance(value, list):
                text = "".join(json.dumps(each) + "\n" for each in value)
            else:
                text = value if isinstance(value, str) else "" if value is None else json.dumps(value)
            self.send_response(status)
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        do_GET = do_POST = do_DELETE = _do

        def version_string(self):
            return "Double/1.0 (linux)"

        def address_string(self):
            return "unix"

        def log_message(self, *_):
            pass

    class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
        daemon_threads = True

    server = Server(str(path), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield double
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()
