"""Reports a failed job to the user's own command or webhook; an error here is only logged."""

import json
import subprocess
import urllib.request
from collections.abc import Mapping
from typing import Any

from nightreel.core.logs import get_logger
from nightreel.core.settings import ScheduleSettings

_COMMAND_TIMEOUT_S = 60
_WEBHOOK_TIMEOUT_S = 10

_log = get_logger(__name__)


def report_failure(settings: ScheduleSettings, failure: Mapping[str, Any]) -> None:
    """Send the failure as JSON to `on_failure`: by POST to a URL, or to a shell command's standard input."""
    if settings.on_failure is None:
        return
    target = settings.on_failure.get_secret_value()
    body = json.dumps(failure, ensure_ascii=False, default=str).encode()
    try:
        if target.startswith(("http://", "https://")):
            headers = {"Content-Type": "application/json"}
            request = urllib.request.Request(target, data=body, headers=headers, method="POST")
            with urllib.request.urlopen(request, timeout=_WEBHOOK_TIMEOUT_S):
                pass
        else:
            subprocess.run(target, shell=True, input=body, timeout=_COMMAND_TIMEOUT_S, check=True)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        # Neither the address nor the command: both may hold a secret.
        _log.error("on_failure did not work", reason=type(error).__name__)
