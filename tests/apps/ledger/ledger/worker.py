"""A worker that never ends by itself."""

import runpy
import signal
import sys

sys.argv = ["tell", "worker"]
runpy.run_module("ledger.tell")
signal.pause()
