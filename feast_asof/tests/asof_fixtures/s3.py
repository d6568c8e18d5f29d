"""An S3 server of this session's own, and what a process needs to find it."""

from collections.abc import Iterator
from contextlib import contextmanager

BUCKET = "asof-test"


@contextmanager
def served() -> Iterator[dict[str, str]]:
    """Serve S3 with one bucket; yields the environment in which `s3://asof-test/...` is there."""
    from moto.server import ThreadedMotoServer
    from pyarrow import fs

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    environment = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    s3 = fs.S3FileSystem(
        access_key="test",
        secret_key="test",
        endpoint_override=environment["AWS_ENDPOINT_URL"],
        region="us-east-1",
        allow_bucket_creation=True,
    )
    try:
        s3.create_dir(BUCKET)
        yield environment
    finally:
        server.stop()
