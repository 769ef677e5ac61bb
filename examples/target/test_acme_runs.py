"""The conformance suite of dolt_watch, with a stand-in for the service."""

import json
import threading
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from acme_runs import Acme, AcmeSettings

from dolt_watch.testing import TargetConformance


class AcmeRig:
    kind = "acme"
    secrets = ("s3cret-token",)

    def __init__(self):
        self.begun, self.mode, self.released = [], "", threading.Event()
        rig = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
                rig.begun.append(asked["bead"]["id"])
                if rig.mode == "silent":
                    rig.released.wait()
                elif rig.mode == "nonsense":
                    self.wfile.write(b"what?")
                else:
                    body = json.dumps({"run": f"run-{len(rig.begun)}"}).encode()
                    self.send_response(201)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def target(self):
        url = f"http://127.0.0.1:{self.server.server_address[1]}"
        return Acme(
            AcmeSettings("runs", url=url, token="s3cret-token", timeout=timedelta(seconds=2))
        )

    def runs(self):
        return self.begun

    def stop_responding(self):
        self.mode = "silent"

    def respond_with_garbage(self):
        self.mode = "nonsense"

    def shut_down(self):
        self.released.set()
        self.server.shutdown()
        self.server.server_close()


class TestAcme(TargetConformance):
    @pytest.fixture
    def rig(self):
        rig = AcmeRig()
        yield rig
        rig.shut_down()
