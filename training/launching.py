"""Starting the other ranks on this machine, and saying so when one of them dies."""

from __future__ import annotations

import logging
import os
import re
import signal
import subprocess
import threading
from collections.abc import Callable, Sequence
from typing import Any

from lightning_fabric.utilities.distributed import _set_num_threads_if_needed
from pytorch_lightning.strategies.launchers.subprocess_script import _SubprocessScriptLauncher

from hotline.errors import UnavailableError
from training.checkpoint import Stopped

POLL_SECONDS = 1.0
GRACE_SECONDS = 10.0
"""After a rank's death this one should fail in its next exchange with it; if it hangs instead, it is ended."""
log = logging.getLogger(__name__)


class WatchedLauncher(_SubprocessScriptLauncher):
    """Lightning's launcher, whose own watch kills this process without a word."""

    def launch(self, function: Callable[..., Any], *args: Any, trainer: Any = None, **kwargs: Any) -> Any:
        """Call the function on every rank; when it fails here, the others are ended."""
        self.cluster_environment.validate_settings(num_devices=self.num_processes, num_nodes=self.num_nodes)
        if not self.cluster_environment.creates_processes_externally:
            self._call_children_scripts()
            threading.Thread(target=_watch, args=(self.procs,), daemon=True, name="rank watch").start()
        _set_num_threads_if_needed(num_processes=self.num_processes)
        try:
            return function(*args, **kwargs)
        except Stopped:
            raise  # the others stop by themselves, at the same step
        except BaseException:
            self.kill(signal.SIGKILL)
            raise


def _watch(ranks: Sequence[subprocess.Popen[bytes]]) -> None:
    while True:
        for number, rank in enumerate(ranks, start=1):
            try:
                code = rank.wait(POLL_SECONDS)
            except subprocess.TimeoutExpired:
                continue
            if code:
                threading.Event().wait(GRACE_SECONDS)
                for other in ranks:
                    other.kill()
                log.error("%s", died(f"rank {number} ended with status {code}"))
                os._exit(UnavailableError.exit_code)
        if all(rank.poll() == 0 for rank in ranks):
            return


def died(found: str) -> UnavailableError:
    """What a person reads when a rank is gone."""
    return UnavailableError(
        "another rank of this run died",
        found=found,
        expected="every rank to train to the end",
        next="look for its own message above (memory?), then hotline train RECIPE --resume",
    )


def is_loss_of_a_rank(error: BaseException) -> bool:
    """Whether an exchange between ranks failed because one is gone."""
    words = r"connection (closed|reset|refused) by peer|broken pipe|gloo|nccl|remote process|store.*(closed|timed out)"
    return isinstance(error, RuntimeError) and re.search(words, str(error), re.IGNORECASE) is not None
