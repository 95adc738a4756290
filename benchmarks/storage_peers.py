"""What each library of the benchmark does for one case: `python storage_peers.py PEER CASE ...`.

Every peer uses 16 threads (or its own default where that is all it offers) and no TLS. The wall
time, CPU and memory are measured from outside by storage.py. Each case imports what it needs and no
more: what is imported here, all peers would pay for.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BUCKET = "bench"
AK, SK = "TESTACCESSKEY0001", "testsecretkey0001"
THREADS = 16
LARGE = 64 << 20


def local_files(root: str) -> Iterator[tuple[str, str]]:
    for folder, _, names in os.walk(root):
        for name in names:
            path = os.path.join(folder, name)
            yield path, os.path.relpath(path, root)


def each(do: Callable[..., object], jobs: Iterator[tuple[str, str]]) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(THREADS) as pool:
        for future in [pool.submit(do, *job) for job in jobs]:
            future.result()


def target(folder: str, name: str) -> str:
    path = os.path.join(folder, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    return path


class Mox:
    scheme = "s3"

    def __init__(self, port: int) -> None:
        from mox_core.storage import api

        self.file = api
        api.set_auth(ak=AK, sk=SK, server=f"http://127.0.0.1:{port}", path_style=True)

    def url(self, prefix: str) -> str:
        return f"{self.scheme}://{BUCKET}/{prefix}"

    def up(self, folder: str, prefix: str) -> None:
        self.file.copy_parallel(folder, self.url(prefix), threads=THREADS)

    def down(self, prefix: str, folder: str) -> None:
        self.file.copy_parallel(self.url(prefix), folder, threads=THREADS)

    def list(self, prefix: str) -> int:
        return len(self.file.list_directory(self.url(prefix), recursive=True, skip_dir=True))

    def rm(self, prefix: str) -> None:
        self.file.remove(self.url(prefix), recursive=True)


class MoxObs(Mox):
    scheme = "obs"


class Boto3:
    def __init__(self, port: int) -> None:
        import boto3
        from botocore.config import Config

        self.s3 = boto3.client(
            "s3",
            endpoint_url=f"http://127.0.0.1:{port}",
            aws_access_key_id=AK,
            aws_secret_access_key=SK,
            region_name="us-east-1",
            config=Config(max_pool_connections=THREADS * 2, s3={"addressing_style": "path"}),
        )

    def put(self, path: str, key: str) -> None:
        with open(path, "rb") as file:
            self.s3.put_object(Bucket=BUCKET, Key=key, Body=file)

    def get(self, key: str, path: str) -> None:
        with open(path, "wb") as file:
            for chunk in self.s3.get_object(Bucket=BUCKET, Key=key)["Body"].iter_chunks(1 << 20):
                file.write(chunk)

    def put_large(self, path: str, key: str) -> None:
        self.s3.upload_file(path, BUCKET, key)

    def get_large(self, key: str, path: str) -> None:
        self.s3.download_file(BUCKET, key, path)

    def up(self, folder: str, prefix: str) -> None:
        def one(path: str, name: str) -> None:
            send = self.put_large if os.path.getsize(path) > LARGE else self.put
            send(path, f"{prefix}/{name}")

        each(one, local_files(folder))

    def keys(self, prefix: str) -> Iterator[tuple[str, int]]:
        pages = self.s3.get_paginator("list_objects_v2")
        for page in pages.paginate(Bucket=BUCKET, Prefix=f"{prefix}/"):
            for entry in page.get("Contents", ()):
                yield entry["Key"], entry["Size"]

    def down(self, prefix: str, folder: str) -> None:
        def one(key: str, size: int) -> None:
            receive = self.get_large if size > LARGE else self.get
            receive(key, target(folder, key[len(prefix) + 1 :]))

        each(one, self.keys(prefix))

    def list(self, prefix: str) -> int:
        return sum(1 for _ in self.keys(prefix))

    def rm(self, prefix: str) -> None:
        keys = [{"Key": key} for key, _ in self.keys(prefix)]
        for at in range(0, len(keys), 1000):
            self.s3.delete_objects(Bucket=BUCKET, Delete={"Objects": keys[at : at + 1000]})


class S3Transfer(Boto3):
    """boto3's transfer manager for every file, small ones too."""

    def put(self, path: str, key: str) -> None:
        self.put_large(path, key)

    def get(self, key: str, path: str) -> None:
        self.get_large(key, path)


class Obstore:
    def __init__(self, port: int) -> None:
        import obstore
        from obstore.store import S3Store

        self.obstore = obstore
        self.store = S3Store(
            BUCKET,
            endpoint=f"http://127.0.0.1:{port}",
            access_key_id=AK,
            secret_access_key=SK,
            region="us-east-1",
            virtual_hosted_style_request=False,
            client_options={"allow_http": True},
        )

    def up(self, folder: str, prefix: str) -> None:
        from pathlib import Path

        def one(path: str, name: str) -> None:
            large = os.path.getsize(path) > LARGE
            body = Path(path) if large else Path(path).read_bytes()
            options = {"chunk_size": 16 << 20, "max_concurrency": 8} if large else {}
            self.obstore.put(self.store, f"{prefix}/{name}", body, **options)

        each(one, local_files(folder))

    def keys(self, prefix: str) -> Iterator[tuple[str, int]]:
        for page in self.obstore.list(self.store, prefix=prefix, chunk_size=1000):
            for entry in page:
                yield entry["path"], entry["size"]

    def down(self, prefix: str, folder: str) -> None:
        def one(key: str, _: int) -> None:
            with open(target(folder, key[len(prefix) + 1 :]), "wb") as file:
                for chunk in self.obstore.get(self.store, key):
                    file.write(chunk)

        def ranges(key: str, size: int) -> None:
            from concurrent.futures import ThreadPoolExecutor

            path = target(folder, key[len(prefix) + 1 :])
            with open(path, "wb") as file:
                os.truncate(path, size)

                def part(start: int, stop: int) -> None:
                    data = self.obstore.get_range(self.store, key, start=start, end=stop)
                    os.pwrite(file.fileno(), data, start)

                step = 16 << 20
                cuts = ((at, min(at + step, size)) for at in range(0, size, step))
                with ThreadPoolExecutor(8) as pool:
                    for future in [pool.submit(part, *cut) for cut in cuts]:
                        future.result()

        found = list(self.keys(prefix))
        for key, size in found:
            if size > LARGE:
                ranges(key, size)
        each(one, (job for job in found if job[1] <= LARGE))

    def list(self, prefix: str) -> int:
        return sum(1 for _ in self.keys(prefix))

    def rm(self, prefix: str) -> None:
        for page in self.obstore.list(self.store, prefix=prefix, chunk_size=1000):
            self.obstore.delete(self.store, [entry["path"] for entry in page])


class S3fs:
    def __init__(self, port: int) -> None:
        import s3fs

        self.fs = s3fs.S3FileSystem(
            key=AK,
            secret=SK,
            endpoint_url=f"http://127.0.0.1:{port}",
            client_kwargs={"region_name": "us-east-1"},
        )

    def up(self, folder: str, prefix: str) -> None:
        self.fs.put(f"{folder}/", f"{BUCKET}/{prefix}/", recursive=True)

    def down(self, prefix: str, folder: str) -> None:
        self.fs.get(f"{BUCKET}/{prefix}/", f"{folder}/", recursive=True)

    def list(self, prefix: str) -> int:
        return len(self.fs.find(f"{BUCKET}/{prefix}"))

    def rm(self, prefix: str) -> None:
        self.fs.rm(f"{BUCKET}/{prefix}", recursive=True)


class ObsSdk:
    """The OBS SDK with 16 threads and connections that it keeps open."""

    def __init__(self, port: int) -> None:
        from obs import ObsClient

        self.obs = ObsClient(
            access_key_id=AK,
            secret_access_key=SK,
            server=f"http://127.0.0.1:{port}",
            long_conn_mode=True,
        )

    def check(self, answer: object) -> None:
        if answer.status >= 300:  # type: ignore[attr-defined]
            raise RuntimeError(f"{answer.status} {answer.errorCode}")  # type: ignore[attr-defined]

    def up(self, folder: str, prefix: str) -> None:
        def one(path: str, name: str) -> None:
            key = f"{prefix}/{name}"
            if os.path.getsize(path) > LARGE:
                self.check(self.obs.uploadFile(BUCKET, key, path, 16 << 20, 8))
            else:
                self.check(self.obs.putFile(BUCKET, key, path))

        each(one, local_files(folder))

    def keys(self, prefix: str) -> Iterator[tuple[str, int]]:
        marker = None
        while True:
            answer = self.obs.listObjects(BUCKET, prefix=f"{prefix}/", marker=marker)
            self.check(answer)
            for entry in answer.body.contents:
                yield entry.key, entry.size
            if not answer.body.is_truncated:
                return
            marker = answer.body.next_marker

    def down(self, prefix: str, folder: str) -> None:
        def one(key: str, size: int) -> None:
            path = target(folder, key[len(prefix) + 1 :])
            if size > LARGE:
                self.check(self.obs.downloadFile(BUCKET, key, path, 16 << 20, 8))
            else:
                self.check(self.obs.getObject(BUCKET, key, downloadPath=path))

        each(one, self.keys(prefix))

    def list(self, prefix: str) -> int:
        return sum(1 for _ in self.keys(prefix))

    def rm(self, prefix: str) -> None:
        from obs import DeleteObjectsRequest, Object

        keys = [Object(key) for key, _ in self.keys(prefix)]
        for at in range(0, len(keys), 1000):
            request = DeleteObjectsRequest(True, keys[at : at + 1000])
            self.check(self.obs.deleteObjects(BUCKET, request))


PEERS = {
    "mox": Mox,
    "mox-obs": MoxObs,
    "boto3": Boto3,
    "s3transfer": S3Transfer,
    "obstore": Obstore,
    "s3fs": S3fs,
    "obs-sdk": ObsSdk,
}


def main() -> None:
    peer, port, case, *rest = sys.argv[1:]
    runner = PEERS[peer.partition("+")[0]](int(port))
    result = getattr(runner, case)(*rest)
    if result is not None:
        print(result)


if __name__ == "__main__":
    main()
