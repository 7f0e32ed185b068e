"""Between two requests of one command a person may think for as long as they like."""

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from contrail_vsphere.cli.server_manager import client as module
from contrail_vsphere.cli.server_manager.client import Client, Where


class Impatient(BaseHTTPRequestHandler):
    """Closes a connection after its answer without saying so, as every server does with one that is silent for long."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")
        self.close_connection = True

    def log_message(self, *_):
        pass


def test_a_connection_that_the_server_closed_meanwhile_is_made_again(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "KEPT", 0.1)
    server = ThreadingHTTPServer(("127.61.0.8", 0), Impatient)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    (tmp_path / "token").write_text("t\n")
    (tmp_path / "token").chmod(0o600)
    client = Client(Where(url=f"http://127.61.0.8:{server.server_port}", token_file=tmp_path / "token"))
    try:
        assert client.ask("POST", "/v1/plan", {}) == {}
        time.sleep(0.6)
        assert client.ask("POST", "/v1/provision", {}) == {}
    finally:
        client.close()
        server.shutdown()
        server.server_close()
        thread.join(10)
