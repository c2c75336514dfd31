"""A proxy before an S3 server that fails on purpose: s3_faults.py PORT UPSTREAM_PORT SHARE SEED.

SHARE of the requests meet one fault each: 500, 503 or 429 in place of an answer, a connection cut in the middle of an upload, an answer
that is lost though the request was carried out, or an answer that is cut in its middle. GET /__faults tells how many of each there were.
Requests for the bucket `forbidden` are refused with 403.
"""

import http.client
import json
import random
import socket
import socketserver
import sys
import threading

PORT, UPSTREAM, SHARE, SEED = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
KINDS = ["500", "503", "429", "cut upload", "lost answer", "cut answer"]
ERROR = "<?xml version='1.0'?><Error><Code>{0}</Code><Message>{0} on purpose</Message></Error>"
CODES = {"500": "InternalError", "503": "SlowDown", "429": "TooManyRequests", "403": "AccessDenied"}
random_source, lock, counts = random.Random(SEED), threading.Lock(), {"requests": 0}


def draw(method, size):
    """A fault for a request, or none."""
    with lock:
        counts["requests"] += 1
        if random_source.random() >= SHARE:
            return None
        kind = random_source.choice(KINDS)
        if kind == "cut upload" and size == 0 or kind == "cut answer" and method != "GET":
            kind = "503"
        counts[kind] = counts.get(kind, 0) + 1
        return kind


class Cut(Exception):
    """The connection ends here."""


class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        self.upstream = http.client.HTTPConnection("127.0.0.1", UPSTREAM)
        try:
            while self.one():
                pass
        except (Cut, ConnectionError, http.client.HTTPException, TimeoutError):
            pass
        finally:
            self.upstream.close()

    def one(self):
        line = self.rfile.readline()
        if not line:
            return False
        method, target, _ = line.decode().split(" ", 2)
        headers = {}
        while (text := self.rfile.readline().decode().strip()):
            name, value = text.split(":", 1)
            headers[name.lower()] = value.strip()
        size = int(headers.get("content-length", 0))
        if target == "/__faults":
            self.answer("200 OK", json.dumps(counts).encode())
            return True
        fault = draw(method, size)
        if fault == "cut upload":
            self.rfile.read(size // 2)
            raise Cut
        body = self.rfile.read(size)
        if len(body) < size:
            return False
        if target.startswith("/forbidden"):
            fault = "403"
        if fault in CODES:
            self.answer(f"{fault} on purpose", ERROR.format(CODES[fault]).encode())
            return True
        self.upstream.request(method, target, body=body, headers=headers)
        got = self.upstream.getresponse()
        data = got.read()
        if fault == "lost answer":
            raise Cut
        head = [f"HTTP/1.1 {got.status} {got.reason}"]
        head += [f"{name}: {value}" for name, value in got.getheaders() if name.lower() not in ("connection", "transfer-encoding")]
        if not got.headers.get("content-length"):
            head.append(f"content-length: {len(data)}")
        self.wfile.write(("\r\n".join(head) + "\r\n\r\n").encode("latin-1"))
        if fault == "cut answer":
            self.wfile.write(data[: len(data) // 2])
            raise Cut
        self.wfile.write(data)
        return True

    def answer(self, status, data):
        self.wfile.write(f"HTTP/1.1 {status}\r\ncontent-length: {len(data)}\r\n\r\n".encode() + data)


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address, daemon_threads, request_queue_size = True, True, 64

    def process_request(self, request, client_address):
        request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().process_request(request, client_address)


Server(("127.0.0.1", PORT), Handler).serve_forever()
