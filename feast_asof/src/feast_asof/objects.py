"""A single object of an S3 store, replaced only if nobody else has replaced it since it was read.

Writers of an object cannot wait for each other. Each reads it, and writes on the condition (`If-Match`) that
it is still the object that was read; a writer that is too late starts again. This needs boto3, which is an
extra.
"""

import random
import tempfile
import time
import uuid
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from feast_asof.errors import AsOfError
from feast_asof.files import Location

# In every round, one of several writers succeeds: this many may write at a time.
ATTEMPTS = 100
LONGEST_PAUSE_S = 1.0
# The largest body of one request.
LARGEST_BYTES = 5 * 2**30
OVERTAKEN = ("PreconditionFailed", "ConditionalRequestConflict")
ABSENT = "NoSuchKey"


def rewrite_object(
    location: Location, endpoint: str | None, rewrite: Callable[[Path, Path], None], *, what: str
) -> None:
    """Replace an object by what `rewrite` makes of it.

    Args:
        rewrite: reads the first file and writes the second; called again if another writer was faster.

    Raises:
        AsOfError: boto3 is missing, or the store has no conditional writes, so that others' rows could be
            lost.
    """
    bucket, _, key = location.path.partition("/")
    try:
        boto3 = import_module("boto3")
        exceptions: Any = import_module("botocore.exceptions")
    except ModuleNotFoundError:
        raise AsOfError(
            f"{what}: to add rows to the object s3://{location.path} needs boto3; `pip install boto3`, "
            f"or make it a folder, which gets one object more each time."
        ) from None
    client = boto3.client("s3", endpoint_url=endpoint or None)
    try:
        _require_conditions(client, exceptions, bucket, key, what=what)
        for attempt in range(ATTEMPTS):
            if _replaced(client, exceptions, bucket, key, rewrite, what=what):
                return
            time.sleep(random.uniform(0, min(0.02 * 2**attempt, LONGEST_PAUSE_S)))
    except (exceptions.ClientError, exceptions.BotoCoreError) as error:
        raise AsOfError(f"{what}: rows cannot be added to s3://{location.path}: {error}") from None
    raise AsOfError(
        f"{what}: other writers replaced s3://{location.path} {ATTEMPTS} times while rows were added; "
        f"make it a folder, which gets one object more each time."
    )


def _replaced(
    client: Any, exceptions: Any, bucket: str, key: str, rewrite: Callable[[Path, Path], None], *, what: str
) -> bool:
    """Read, rewrite and write once; False where another writer came in between."""
    with tempfile.TemporaryDirectory() as folder:
        old, new = Path(folder, "old.parquet"), Path(folder, "new.parquet")
        response = client.get_object(Bucket=bucket, Key=key)
        with old.open("wb") as file:
            for piece in response["Body"].iter_chunks(2**20):
                file.write(piece)
        rewrite(old, new)
        if new.stat().st_size > LARGEST_BYTES:
            raise AsOfError(f"{what}: s3://{bucket}/{key} would be larger than 5 GiB; make it a folder.")
        try:
            with new.open("rb") as file:
                client.put_object(Bucket=bucket, Key=key, Body=file, IfMatch=response["ETag"])
        except exceptions.ClientError as error:
            if error.response["Error"]["Code"] in OVERTAKEN:
                return False
            raise
    return True


def _require_conditions(client: Any, exceptions: Any, bucket: str, key: str, *, what: str) -> None:
    """Raise AsOfError where the store takes a write whose condition does not hold."""
    folder, slash, name = key.rpartition("/")
    probe = f"{folder}{slash}.{name}.{uuid.uuid4().hex}.probe"
    try:
        client.put_object(Bucket=bucket, Key=probe, Body=b"", IfMatch='"0"')
    except exceptions.ClientError as error:
        if error.response["Error"]["Code"] in (*OVERTAKEN, ABSENT):
            return
        raise
    client.delete_object(Bucket=bucket, Key=probe)
    raise AsOfError(
        f"{what}: s3://{bucket} takes writes without their condition, so that rows of another writer of "
        f"{key} could be lost; make it a folder, which gets one object more each time."
    )
