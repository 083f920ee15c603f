"""`headgate writeback`: make Git say what serves after a rollback, until SIGTERM or SIGINT."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys

from headgate.cli import exits
from headgate.runtime import logs
from headgate.writeback import settings
from headgate.writeback.service import serve

log = logging.getLogger("headgate.writeback")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add one flag for each setting."""
    settings.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Run the write-back; what ends it early is told in the log, and in one exit code."""
    try:
        chosen = settings.read(vars(args), os.environ)
        logs.configure(chosen.log_level, chosen.log_format)
        asyncio.run(serve(chosen))
    except settings.SettingError as error:
        print(f"headgate writeback: {error}", file=sys.stderr)
        return exits.USAGE
    except OSError as error:
        log.critical("cannot serve: %s", error)
        return exits.FAILED
    return exits.OK
