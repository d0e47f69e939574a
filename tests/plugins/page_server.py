"""A running `bchisto serve`, and a client of its JSON."""

import contextlib
import csv
import io
import signal
import subprocess
import time
from pathlib import Path

import httpx


class Server:
    """A page that runs; `client` may ask it."""

    def __init__(self, process, address, token=""):
        self.process, self.address = process, address
        self.base, _, self.token = address.rstrip("/").partition("/?token=")
        self.token = self.token or token
        self.headers = {"authorization": f"Bearer {self.token}"}
        self.client = httpx.Client(
            base_url=self.base, headers=self.headers, timeout=120, verify=False
        )

    def add(self, name, content, **query):
        """Send an image on a connection of its own: httpcore 1.0.9 closes some that threads share while they wait.

        Certificates, of which there are none here, take most of the time of a request if they are to be verified.
        """
        query, more = (
            {"name": name, **query},
            {"headers": self.headers, "timeout": 120, "verify": False},
        )
        return httpx.post(f"{self.base}/api/images", params=query, content=content, **more)

    def images(self):
        return self.client.get("/api/images").json()

    def wait(self):
        """Wait until nothing waits; return the images by name."""
        until = time.monotonic() + 300
        while (queue := self.client.get("/api/queue").json())["waiting"] + queue["working"]:
            assert time.monotonic() < until, queue
            time.sleep(0.03)
        return {image["name"]: image for image in self.images()}

    def worker(self):
        """Return the number of the process that predicts."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return int(children.split()[-1])  # after the two that look after semaphores

    def table(self):
        """Return the rows of the table of predictions."""
        text = self.client.get("/api/predictions.csv").text
        return list(csv.DictReader(io.StringIO(text)))

    def predicted(self, name, content):
        """Send an image, wait until it is predicted, and return its number."""
        number = self.add(name, content).json()["number"]
        self.wait()
        return number

    def review(self, number, **params):
        """Give an image a label, or take it back; return the answer."""
        return self.client.put(f"/api/images/{number}/review", params=params)

    def clear(self):
        assert self.client.delete("/api/images").status_code == 204

    def stop(self, number=signal.SIGINT):
        self.client.close()
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            out, err = self.process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        return self.process.returncode, out, err


@contextlib.contextmanager
def serving(start, *arguments, **options):
    """Start `bchisto serve` on a free port; it is stopped at the end."""
    process = start("serve", *arguments, "--port", 0, **options)
    address = process.stdout.readline().strip()
    if not address.startswith("http"):
        raise AssertionError(process.communicate(timeout=60)[1])
    files = [Path(arguments[at + 1]) for at, word in enumerate(arguments) if word == "--token-file"]
    server = Server(process, address, *(file.read_text().strip() for file in files))
    try:
        yield server
    finally:
        server.client.close()
        if process.poll() is None:
            server.stop()
