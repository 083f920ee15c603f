"""
Owns the process of one model server: KServe's own server around a scikit-learn model.

Runs in the environment of the model servers and does what KServe's `sklearnserver` image does,
with the same flags; KServe does not publish that program as a package. It differs in four ways,
each said where it is done: it listens on loopback only, it is quiet, gRPC is off unless asked for,
and it may ask for a history first. It must not know pods, versions or the cluster.
"""

import asyncio
import logging
import os
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import aiohttp
import joblib
from kserve import Model, ModelServer, model_server
from kserve.utils.utils import get_predict_input, get_predict_response

EXTENSIONS = (".joblib", ".pkl", ".pickle")
PREDICT_PROBA = "PREDICT_PROBA"
"""Set to `true`, answers are probabilities for each class; the name is KServe's own."""
HISTORY_URL = "HISTORY_URL"
"""Set, each request asks this address first, as a model does whose features are kept elsewhere."""
LISTEN_ON = os.environ.get("SANDBOX_LISTEN_ON", "127.0.0.1")
"""Loopback, but for a container that has its own."""


class NoModelError(Exception):
    """The directory holds no model, or nothing that can be loaded as one."""


class SklearnModel(Model):  # type: ignore[misc]  # KServe ships no types
    """A scikit-learn estimator from a file in a directory."""

    def __init__(self, name: str, directory: Path) -> None:
        """Name the model as its path will say it; nothing is read before `load`."""
        super().__init__(name)
        self.directory = directory
        self.estimator: Any = None
        self.history_url = os.environ.get(HISTORY_URL, "")
        self.session: aiohttp.ClientSession | None = None

    def load(self) -> bool:
        """Read the one model file of the directory; raise NoModelError saying what is wrong."""
        path = find_model(self.directory)
        try:
            self.estimator = joblib.load(path)
        except Exception as error:  # unpickling runs whatever the file says, and fails as it likes
            raise NoModelError(f"{path}: {type(error).__name__}: {error}") from error
        self.ready = True
        return self.ready

    async def predict(
        self,
        payload: Any,
        headers: dict[str, str] | None = None,
        response_headers: dict[str, str] | None = None,
    ) -> Any:
        """
        Predict one value for each instance; a null in an instance reaches the model as NaN.

        What the estimator raises is answered by KServe's server as HTTP 500 with its text, and so
        is a history that cannot be had.
        """
        if self.history_url:
            await self._ask_for_history()
        instances = get_predict_input(payload)
        if getattr(self.estimator, "waits", False):
            answer = await asyncio.to_thread(self._answer, instances)
        else:
            # One after the other, as KServe's own server of scikit-learn models does.
            answer = self._answer(instances)
        return get_predict_response(payload, answer, self.name)

    async def _ask_for_history(self) -> None:
        if self.session is None:  # it belongs to the loop that serves
            self.session = aiohttp.ClientSession(trust_env=True, raise_for_status=True)
        async with self.session.get(self.history_url) as response:
            await response.read()

    def _answer(self, instances: Any) -> Any:
        wants_probability = os.environ.get(PREDICT_PROBA, "false").lower() == "true"
        if wants_probability and hasattr(self.estimator, "predict_proba"):
            return self.estimator.predict_proba(instances)
        return self.estimator.predict(instances)


class LoopbackServer(ModelServer):  # type: ignore[misc]  # KServe ships no types
    """KServe's server on 127.0.0.1; the library has 0.0.0.0 written into it."""

    async def _serve(self) -> None:
        # Between the making of the REST server and its start, its uvicorn settings are open.
        config = self._rest_server.config
        config.host = LISTEN_ON
        config.access_log = False
        await super()._serve()


def find_model(directory: Path) -> Path:
    """Find the only model file of a directory; raise NoModelError for none, and for several."""
    if not directory.is_dir():
        raise NoModelError(f"{directory}: wanted a directory with a model, found none")
    found = sorted(path for path in directory.iterdir() if path.suffix in EXTENSIONS)
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise NoModelError(
            f"{directory}: wanted one file ending in {', '.join(EXTENSIONS)}, found {names}"
        )
    return found[0]


def main() -> int:
    """Serve until SIGTERM; 1 if the model cannot be loaded, with the reason on stderr."""
    # KServe reads all other flags itself, when it is imported, and from this same command line.
    parser = ArgumentParser(prog="sandbox.modelserver", parents=[model_server.parser])
    parser.add_argument("--model_dir", type=Path, required=True)
    parser.set_defaults(enable_grpc=False, model_name="model")
    flags = parser.parse_args()
    if flags.workers != 1:
        parser.error("--workers: wanted 1, the only number that can be bound to loopback")
    model = SklearnModel(flags.model_name, flags.model_dir)
    try:
        model.load()
    except NoModelError as error:
        sys.stderr.write(f"cannot load model {flags.model_name}: {error}\n")
        return 1
    # KServe logs four lines for each request; at 100 requests a second that is a log nobody reads.
    logging.getLogger("kserve.trace").setLevel(logging.WARNING)
    LoopbackServer(
        http_port=flags.http_port,
        enable_grpc=flags.enable_grpc,
        enable_latency_logging=False,
    ).start([model])
    return 0


if __name__ == "__main__":
    sys.exit(main())
