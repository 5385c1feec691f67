"""The git remotes in the pictures, served by `git daemon`: no path of this machine is seen."""

import random
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from syncsvc.management.embedded import free_port, port_is_free
from tests.gitrepo import GitRepo

GIT_PORT = 9418  # git's own, which a URL needs not name
READY_SECONDS = 10
SIZES = {
    "platform/docs": 412, "platform/website": 186, "platform/api-schemas": 64, "platform/handbook": 58,
    "platform/translations": 72, "platform/design-tokens": 24, "platform/policies": 31, "shop/catalog": 240,
    "shop/prices": 48, "shop/checkout-texts": 36, "shop/promotions": 22, "shop/returns": 27, "mobile/app-config": 18,
    "mobile/feature-flags": 44, "mobile/release-notes": 39, "data/dictionaries": 52, "data/country-codes": 61,
    "data/tax-rates": 34, "legal/terms": 28, "legal/privacy": 25, "support/macros": 66, "support/help-center": 95,
    "support/status-texts": 21,
}  # fmt: skip
FOLDERS = ("guides", "reference", "examples", "en", "de", "fr")
WORDS = ("accounts", "billing", "errors", "export", "install", "limits", "orders", "search", "tokens", "webhooks")


class Remotes:
    def __init__(self, folder: Path) -> None:
        self._folder, self._random = folder, random.Random("screenshots")  # noqa: S311 - no secret
        self._port = GIT_PORT if port_is_free(GIT_PORT) else free_port()
        self._repos: dict[str, GitRepo] = {}

    def __enter__(self) -> Self:
        for name, size in SIZES.items():
            repo = self._repos[name] = GitRepo(self._folder / f"{name}.git")
            repo.commit({path_of(number): self._text(path_of(number)) for number in range(size)})
        options = ["--export-all", "--reuseaddr", "--listen=127.0.0.1", f"--port={self._port}"]
        command = ["git", "daemon", *options, f"--base-path={self._folder}", str(self._folder)]
        self._daemon = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._wait()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._daemon.terminate()
        self._daemon.wait()

    def url(self, name: str) -> str:
        port = "" if self._port == GIT_PORT else f":{self._port}"
        return f"git://localhost{port}/{name}.git"

    def change(self, name: str, *numbers: int) -> None:
        """A commit that gives those files other content; a number that is none yet adds one."""
        self._commit(name, {path_of(number): self._text(path_of(number)) for number in numbers})

    def delete(self, name: str, count: int) -> None:
        """A commit without the first so many files."""
        self._commit(name, {path_of(number): None for number in range(count)})

    def _commit(self, name: str, files: Mapping[str | bytes, bytes | None]) -> None:
        self._repos[name].commit(dict(files), message="Texts of the day")

    def _text(self, path: str) -> bytes:
        line = f"{path}: {self._random.randbytes(40).hex()}\n".encode()
        return b"# A page\n\n" + line * self._random.randint(20, 90)

    def _wait(self) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while True:
            try:
                socket.create_connection(("127.0.0.1", self._port), timeout=1).close()
                return
            except OSError:
                if time.monotonic() > deadline or self._daemon.poll() is not None:
                    raise SystemExit("`git daemon` does not start.") from None
                time.sleep(0.05)


def path_of(number: int) -> str:
    folder, word = FOLDERS[number % len(FOLDERS)], WORDS[number // len(FOLDERS) % len(WORDS)]
    part = number // (len(FOLDERS) * len(WORDS))
    return f"{folder}/{word}/part-{part}.md" if part else f"{folder}/{word}.md"
