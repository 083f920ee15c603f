"""`headgate operator`: run the operator until SIGTERM or SIGINT."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys

from headgate.cli import exits
from headgate.ports import ClusterUnavailable
from headgate.runtime import logs, settings
from headgate.runtime.assembly import serve
from headgate.runtime.kopf_glue import WatchFailed
from headgate.runtime.lease import LeaseLost
from headgate.runtime.preflight import NotInstalled
from headgate.runtime.resync import WatchBlind

log = logging.getLogger("headgate.operator")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add one flag for each setting."""
    settings.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Run the operator; what ends it early is told in the log, and in one exit code."""
    try:
        chosen = settings.read(vars(args), os.environ)
        logs.configure(chosen.log_level, chosen.log_format)
        asyncio.run(serve(chosen))
    except settings.SettingError as error:
        print(f"headgate operator: {error}", file=sys.stderr)
        return exits.USAGE
    except ClusterUnavailable as error:
        log.critical("the API server cannot be reached: %s", error)
        return exits.UNREACHABLE
    except NotInstalled as error:
        for line in str(error).splitlines():
            log.critical("%s", line)
        return exits.FAILED
    except (WatchFailed, WatchBlind, LeaseLost) as error:
        log.critical("%s", error, exc_info=error.__cause__)
        return exits.FAILED
    except OSError as error:
        log.critical("cannot serve: %s", error)
        return exits.FAILED
    return exits.OK
