from __future__ import annotations

import inspect
import json
import os
import signal
import subprocess

import pytest

import mox_core
from mox_core.cli import main
from mox_core.cli.output import human_size

HEAVY = ("numpy", "tensorflow", "torch", "mxnet", "boto3", "obs", "tqdm")

ENGINE = """
    from mox_core.plugins import hookimpl

    class Engine:
        def describe(self):
            import a_framework
            return {"a_framework": a_framework.version, "devices": "CPU:0"}

    @hookimpl
    def mox_engine(name):
        return Engine()
    """

COMMANDS = """
    from mox_core.errors import EngineError
    from mox_core.plugins import hookimpl

    def hello(args):
        if args.who == "nobody":
            raise EngineError("there is nobody.")
        print("hello", args.who)
        return 3 if args.who == "three" else None

    @hookimpl
    def mox_register_commands(subparsers):
        parser = subparsers.add_parser("hello", help="greet somebody")
        parser.add_argument("who")
        parser.set_defaults(run=hello)
        subparsers.add_parser("idle", help="do nothing")

    @hookimpl
    def mox_report_env():
        return {"greetings": "3"}
    """


@pytest.fixture
def script(tmp_path):
    """Writes a script and returns its path."""

    def write(source, name="train.py"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(inspect.cleandoc(source) + "\n")
        return path

    return write


def install_commands(site):
    groups = {"mox.plugins": {"greeter": "greeter"}}
    site.install("greeter", groups=groups, modules={"greeter.py": COMMANDS})


def install_engine(site, framework="version = '7.1'", name="tf"):
    modules = {"the_engine.py": ENGINE}
    if framework:
        modules["a_framework.py"] = framework
    site.install(f"mox-{name}", groups={"mox.engines": {name: "the_engine"}}, modules=modules)


# ---- mox -----------------------------------------------------------------------------------------


def test_version(site):
    done = site.mox("--version")
    assert (done.returncode, done.stdout) == (0, f"mox {mox_core.__version__}\n")


def test_help_fits_a_terminal_and_names_all_commands(site):
    install_commands(site)
    done = site.mox("--help")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert len(lines) <= 24
    for line in ("  run          run a training script", "  hello        greet somebody"):
        assert line in lines


def test_help_survives_a_broken_plugin(site):
    install_commands(site)
    site.install("bad", groups={"mox.plugins": {"bad": "nothing_like_it"}})
    clash = """
        from mox_core.plugins import hookimpl

        @hookimpl
        def mox_register_commands(subparsers):
            subparsers.add_parser("plugins", help="take over")
        """
    site.install("clash", groups={"mox.plugins": {"clash": "clash"}}, modules={"clash.py": clash})
    done = site.mox("--help")
    assert done.returncode == 0
    assert "hello" in done.stdout
    assert "take over" not in done.stdout
    bad, clashing = done.stderr.splitlines()
    assert "No module named 'nothing_like_it'" in bad
    assert "the command 'plugins' exists already" in clashing


@pytest.mark.parametrize(
    ("args", "lines"),
    [
        (
            ["chekpoint", "show"],
            [
                "mox: error: unknown command 'chekpoint'. Did you mean 'checkpoint'?",
                "  `mox --help` lists the commands.",
            ],
        ),
        (
            ["train.py"],
            [
                "mox: error: unknown command 'train.py'.",
                "  Run a script with:  mox run train.py",
            ],
        ),
        (
            ["--engine", "tf", "run"],
            [
                "mox: error: unknown option --engine.",
                "  `mox --help` lists commands and options.",
            ],
        ),
        (
            ["run"],
            ["mox: error: mox run needs a script.", "  For example:  mox run train.py"],
        ),
        (
            ["run", "--depth=3", "train.py"],
            [
                "mox: error: mox run does not know --depth=3.",
                "  Options of the script go after its name; `mox run --mox-help` lists mox's own.",
            ],
        ),
    ],
)
def test_usage_errors(site, args, lines):
    done = site.mox(*args)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines() == lines


def test_without_a_command_the_help_is_an_error(site):
    done = site.mox()
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("usage: mox ")


@pytest.mark.parametrize(
    "args", [["--help"], ["plugins"], ["info"], ["doctor", "-h"], ["checkpoint", "show", "-h"]]
)
def test_commands_import_nothing_heavy(site, args):
    install_commands(site)
    install_engine(site)
    code = f"""
        import sys
        from mox_core.cli import main
        try:
            code = main({args!r})
        except SystemExit as error:
            code = error.code
        assert code == 0
        print(sorted(sys.modules.keys() & {set(HEAVY)!r} | {{"a_framework"}} & sys.modules.keys()))
        """
    assert site.python(code).splitlines()[-1] == "[]"


def test_commands_load_only_themselves(site):
    code = """
        import sys
        from mox_core.cli import main
        main(["plugins"])
        print([name for name in sys.modules if name.startswith("mox_core.cli.")])
        """
    modules = site.python(code).splitlines()[-1]
    assert modules == "['mox_core.cli.output', 'mox_core.cli.plugins']"


def test_a_reader_that_leaves_early_is_no_error(site):
    command, environment = site.command("-m", "mox_core.cli", "info")
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    process.stdout.close()
    error = process.stderr.read()
    assert (process.wait(timeout=60), error) == (1, b"")
    process.stderr.close()


# ---- Commands of plugins -------------------------------------------------------------------------


def test_a_command_of_a_plugin(site):
    install_commands(site)
    done = site.mox("hello", "world")
    assert (done.returncode, done.stdout, done.stderr) == (0, "hello world\n", "")
    assert site.mox("hello", "three").returncode == 3
    done = site.mox("hello", "nobody")
    assert (done.returncode, done.stderr) == (1, "mox: error: there is nobody.\n")
    done = site.mox("hello", "--help")
    assert done.stdout.startswith("usage: mox hello [-h] who")
    done = site.mox("helo", "world")
    assert (done.returncode, "Did you mean 'hello'?" in done.stderr) == (2, True)


def test_a_command_of_a_plugin_that_calls_nothing(site):
    install_commands(site)
    done = site.mox("idle")
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "mox: error: the command 'idle' does nothing: its plugin gave no function to call.",
        "  Its author must call parser.set_defaults(run=function).",
    ]


def test_no_plugins_hides_their_commands(site):
    install_commands(site)
    assert "hello" not in site.mox("--no-plugins", "--help").stdout
    assert site.mox("--no-plugins", "hello", "world").returncode == 2


# ---- mox run -------------------------------------------------------------------------------------


def test_run_is_like_python(site, script):
    path = script(
        """
        import os, sys, pickle, threading, atexit
        import beside

        class Thing:
            pass

        print(__name__, os.path.abspath(__file__) == __file__, __spec__, __package__)
        print(sys.argv)
        print(sys.path[0] == os.path.dirname(__file__))
        print(type(pickle.loads(pickle.dumps(Thing()))) is Thing)
        print(sys.modules["__main__"].Thing is Thing, beside.value)
        atexit.register(lambda: print("at exit", Thing.__name__))
        """,
        "scripts/train.py",
    )
    script("value = 5", "scripts/beside.py")
    as_python = site.run(path, "--lr", "1", "--", "x")
    as_mox = site.mox("run", path, "--lr", "1", "--", "x")
    assert as_python.returncode == as_mox.returncode == 0, as_mox.stderr
    assert as_mox.stdout == as_python.stdout
    assert "at exit Thing" in as_mox.stdout


@pytest.mark.parametrize(
    "args",
    [
        ["--engine", "toy", "SCRIPT", "--epochs", "3", "--engine-room", "4"],
        ["SCRIPT", "--engine=toy", "--epochs", "3", "--engine-room", "4"],
        ["--use_fp16", "--", "SCRIPT", "--engine", "toy", "--epochs", "3", "--engine-room=4"],
        ["SCRIPT", "--epochs", "3", "--engine", "toy", "--engine-room", "4", "--use-fp16"],
    ],
)
def test_flags_of_mox_before_and_after_the_script(site, script, args):
    path = script(
        """
        import argparse
        import mox_core as mox

        parser = argparse.ArgumentParser()
        parser.add_argument("--epochs", type=int)
        parser.add_argument("--engine-room")
        options = parser.parse_args()
        print(options.epochs, options.engine_room, mox.get_flag("engine"), mox.get_flag("use_fp16"))
        """
    )
    done = site.mox("run", *[path if arg == "SCRIPT" else arg for arg in args])
    assert (done.returncode, done.stderr) == (0, "")
    fp16 = any("fp16" in arg for arg in args)
    assert done.stdout == f"3 4 toy {fp16}\n"


def test_flags_of_plugins_are_known_to_run(site, script):
    source = """
        from mox_core.flags import Flag
        from mox_core.plugins import hookimpl

        @hookimpl
        def mox_add_flags(registry):
            registry.define(Flag("volume", int, 3))
        """
    site.install("loud", groups={"mox.plugins": {"loud": "loud"}}, modules={"loud.py": source})
    path = script("import mox_core; print(mox_core.get_flag('volume'))")
    assert site.mox("run", "--volume", "11", path).stdout == "11\n"
    assert site.mox("run", path, "--volume=12").stdout == "12\n"
    done = site.mox("run", "--no-plugins", "--volume", "11", path)
    assert (done.returncode, "does not know --volume" in done.stderr) == (2, True)


def test_run_a_script_that_is_not_there(site, tmp_path):
    done = site.mox("run", "nope.py", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == (
        "mox: error: cannot read the script 'nope.py': No such file or directory "
        f"({tmp_path / 'nope.py'}).\n"
    )
    done = site.mox("run", tmp_path)
    assert (done.returncode, "Is a directory" in done.stderr) == (2, True)


def test_errors_of_mox_are_lines_and_with_mox_debug_tracebacks(site, script):
    path = script("from mox_core.errors import SpecError\nraise SpecError('no loss.\\n  Add it.')")
    done = site.mox("run", path)
    assert (done.returncode, done.stderr) == (1, "mox: error: no loss.\n  Add it.\n")
    site.environment["MOX_DEBUG"] = "1"
    done = site.mox("run", path)
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert f'File "{path}", line 2' in done.stderr


def test_errors_of_the_script_have_its_own_traceback(site, script):
    path = script("def f():\n    return 1 / 0\n\nf()")
    as_python = site.run(path)
    as_mox = site.mox("run", path)
    assert as_mox.returncode == 1
    assert as_mox.stderr == as_python.stderr
    assert "ZeroDivisionError" in as_mox.stderr


def test_a_script_with_a_syntax_error(site, script):
    path = script("x = 1\ny = (")
    as_mox = site.mox("run", path)
    assert as_mox.returncode == 1
    assert as_mox.stderr == site.run(path).stderr


@pytest.mark.parametrize(
    ("statement", "code", "error"),
    [
        ("sys.exit()", 0, ""),
        ("sys.exit(7)", 7, ""),
        ("sys.exit('stopped')", 1, "stopped\n"),
        ("raise KeyboardInterrupt", 130, ""),
    ],
)
def test_how_a_script_ends(site, script, statement, code, error):
    done = site.mox("run", script(f"import sys\n{statement}"))
    assert (done.returncode, done.stderr) == (code, error)


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
def test_ctrl_c_leaves_no_traceback(site, script):
    path = script(
        """
        import signal
        print("ready", flush=True)
        signal.pause()
        """
    )
    command, environment = site.command("-m", "mox_core.cli", "run", path)
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60) == ("", "")
    assert process.returncode == 130


def test_workers_of_a_script_that_run_runs(site, script):
    path = script(
        """
        import multiprocessing

        def square(x):
            return x * x

        if __name__ == "__main__":
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                print(pool.map(square, [1, 2, 3]))
        """
    )
    done = site.mox("run", path)
    assert (done.returncode, done.stdout) == (0, "[1, 4, 9]\n"), done.stderr


# ---- mox plugins, info, doctor -------------------------------------------------------------------


def test_plugins_when_there_are_none(site):
    done = site.mox("plugins")
    assert done.returncode == 0
    assert done.stdout.splitlines() == [
        "No plugins are installed.",
        "  An engine is one; install it, for example, with:  pip install mox-tf",
    ]
    assert json.loads(site.mox("plugins", "--json").stdout) == []


def test_plugins_is_a_table_with_the_error_under_a_broken_one(site):
    install_engine(site)
    install_commands(site)
    bad = "raise RuntimeError('this library is so broken that it takes a lot of words to say it')"
    site.install("mox-bad", "2", groups={"mox.storage": {"b": "bad"}}, modules={"bad.py": bad})
    done = site.mox("plugins")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "NAME     KIND     VERSION  DISTRIBUTION  STATE",
        "tf       engine   1.0      mox-tf        ok",
        "b        storage  2        mox-bad       broken",
        "    RuntimeError: this library is so broken that it takes a lot of words to say",
        "    it",
        "greeter  plugin   1.0      greeter       ok",
    ]
    first, second, third = json.loads(site.mox("plugins", "--json").stdout)
    assert first == {
        "name": "tf",
        "kind": "engine",
        "group": "mox.engines",
        "version": "1.0",
        "distribution": "mox-tf",
        "state": "ok",
        "error": None,
        "hooks": ["mox_engine"],
    }
    assert second["state"] == "broken"
    assert third["hooks"] == ["mox_register_commands", "mox_report_env"]


def test_info_tells_what_a_bug_report_needs_and_no_secrets(site):
    install_engine(site)
    install_commands(site)
    site.environment |= {
        "MOX_ENGINE": "tf",
        "MOX_PROXY": "http://me:hunter2@proxy:80/",
        "MOX_API_TOKEN": "hunter2",
        "TF_CONFIG": '{"hunter2": 1}',
        "CUDA_VISIBLE_DEVICES": "0,1",
        "AWS_SECRET_ACCESS_KEY": "hunter2",
    }
    done = site.mox("info")
    assert (done.returncode, done.stderr) == (0, "")
    assert "hunter2" not in done.stdout
    lines = [line.split() for line in done.stdout.splitlines()]
    for line in (
        ["mox", mox_core.__version__],
        ["mox-tf", "1.0"],
        ["MOX_ENGINE", "tf"],
        ["MOX_PROXY", "http://proxy:80/"],
        ["MOX_API_TOKEN", "(hidden)"],
        ["TF_CONFIG", "set"],
        ["CUDA_VISIBLE_DEVICES", "0,1"],
        ["greetings", "3"],
        ["tf", "engine", "1.0", "mox-tf", "ok"],
    ):
        assert line in lines
    done = site.mox("info", "--json")
    assert "hunter2" not in done.stdout
    data = json.loads(done.stdout)
    assert data["mox"] == mox_core.__version__
    assert data["distributions"]["mox-tf"] == "1.0"
    assert data["reports"] == {"mox.plugins:greeter": {"greetings": "3"}}
    assert [plugin["name"] for plugin in data["plugins"]] == ["tf", "greeter"]


def test_doctor_loads_the_framework(site):
    install_engine(site)
    done = site.mox("doctor")
    assert done.returncode == 0
    assert done.stdout.splitlines() == [
        "engine tf (mox-tf 1.0): OK",
        "  a_framework  7.1",
        "  devices      CPU:0",
    ]


def test_doctor_shows_the_traceback_and_the_remedy(site):
    install_engine(site, framework=None)
    sound = """
        from mox_core.plugins import hookimpl

        class Engine:
            def describe(self):
                return {}

        @hookimpl
        def mox_engine():
            return Engine()
        """
    site.install("sound", groups={"mox.engines": {"sound": "sound"}}, modules={"sound.py": sound})
    done = site.mox("doctor")
    assert done.returncode == 1
    assert "engine sound (sound 1.0): OK" in done.stdout
    assert "engine tf (mox-tf 1.0): FAILED\n  Traceback" in done.stdout
    assert "the_engine.py" in done.stdout
    assert "ModuleNotFoundError: No module named 'a_framework'" in done.stdout
    assert "Install what mox-tf needs with:  pip install mox-tf" in done.stdout
    done = site.mox("doctor", "sound")
    assert (done.returncode, done.stdout) == (0, "engine sound (sound 1.0): OK\n")


def test_doctor_examines_any_plugin_by_name(site):
    install_commands(site)
    modules = {"late.py": "import os\n\nos.nothing_of_the_kind"}
    site.install("late", groups={"mox.storage": {"s9": "late"}}, modules=modules)
    site.install("old", groups={"mox.plugins": {"old": "old"}}, requires=["mox-core<0.0.1"])
    done = site.mox("doctor", "greeter", "s9", "old")
    assert done.returncode == 1
    assert "plugin greeter (greeter 1.0): OK" in done.stdout
    assert "storage s9 (late 1.0): FAILED\n  Traceback" in done.stdout
    assert "nothing_of_the_kind" in done.stdout
    assert "plugin old (old 1.0): FAILED\n  plugin 'old' is installed (old 1.0)" in done.stdout


def test_doctor_of_what_is_not_installed(site):
    done = site.mox("doctor")
    assert done.returncode == 1
    assert done.stderr.splitlines()[0] == "mox: error: no engine is installed."
    done = site.mox("doctor", "torch")
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "mox: error: engine 'torch' is not installed (installed: none).",
        "  Install it with:  pip install mox-torch",
    ]


# ---- mox checkpoint ------------------------------------------------------------------------------


def test_checkpoint_show(problem, tmp_path, capsys):
    problem.run(log_dir=str(tmp_path))
    capsys.readouterr()
    assert main(["checkpoint", "show", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == str(tmp_path / "model.ckpt-12")
    assert lines[1].split() == ["step", "12"]
    cells = [line.split() for line in lines]
    assert ["VARIABLE", "SHAPE", "DTYPE", "PARAMETERS"] in cells
    assert ["weights", "2", "x", "3", "float32", "6"] in cells
    assert ["bias", "3", "float32", "3"] in cells
    assert max(map(len, lines[1:])) <= 80

    assert main(["checkpoint", "show", str(tmp_path / "model.ckpt-12"), "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["step"] == 12
    weights = {"name": "weights", "shape": [2, 3], "dtype": "float32", "state": False}
    assert weights in data["variables"]
    total = sum(size for _, size in data["files"])
    assert lines[-1] == f"{len(data['files'])} files, {human_size(total)}"


def test_checkpoint_show_when_there_is_none(tmp_path, capsys):
    assert main(["checkpoint", "show", str(tmp_path)]) == 1
    first, second = capsys.readouterr().err.splitlines()
    assert first == f"mox: error: no checkpoint at {str(tmp_path)!r}."
    assert second.startswith("  Give a log_dir with its file `checkpoint`, or a prefix")


def test_checkpoint_needs_its_sub_command(capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["checkpoint"])
    assert exit_.value.code == 2
    assert "required: {show,convert}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (5 * 1024**3, "5.0 GiB"),
        (3 * 1024**5, "3072.0 TiB"),
    ],
)
def test_sizes_in_human_units(size, text):
    assert human_size(size) == text


# ---- What errors of a script mean ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("x = 1\nprint 'hello'", "line 2 is Python 2: print was a statement."),
        ("try:\n    pass\nexcept IOError, e:\n    pass", "line 3 is Python 2: `except A, b` is"),
        ("mode = 0777", "line 1 is Python 2: octal numbers are written 0o777 now."),
        ("raise ValueError, 'no'", "line 1 is Python 2: `raise A, b` is `raise A(b)` now."),
        ("if 1 <> 2:\n    pass", "line 1 is Python 2: `<>` is `!=` now."),
        ("def f():\n    return xrange(3)\nf()", "line 2: the name `xrange` is of Python 2; it is"),
        (
            "import urllib2",
            "line 1: the module `urllib2` is of Python 2; it is urllib.request now.",
        ),
        ("{}.iteritems()", "line 1: the method `iteritems` of dictionaries is of Python 2; it is"),
    ],
)
def test_python_2_is_named_with_its_line(site, script, source, said):
    path = script(source)
    done = site.mox("run", path, cwd=path.parent)
    assert done.returncode == 1
    assert done.stderr.startswith(f"mox: error: {path.name}, {said}")
    assert done.stderr.endswith(
        "convert the script with 2to3, which comes with Python up to 3.12.\n"
    )
    site.environment["MOX_DEBUG"] = "1"
    assert 'File "' in site.mox("run", path).stderr


def test_python_2_in_a_module_of_the_script_is_named_with_its_file(site, script):
    script("print 'hello'", "scripts/old.py")
    path = script("import old", "scripts/train.py")
    done = site.mox("run", path, cwd=path.parent)
    assert done.stderr.startswith("mox: error: old.py, line 1 is Python 2: print was a statement.")


def test_plugins_prepare_scripts_and_explain_their_errors(site, script):
    source = """
        from mox_core.plugins import hookimpl

        @hookimpl
        def mox_prepare_script(script):
            print("preparing", script)

        @hookimpl
        def mox_explain_error(error):
            if isinstance(error, KeyError):
                return f"there is no {error}.\\n  Look elsewhere."
        """
    site.install(
        "mox-helper", groups={"mox.plugins": {"h": "helper"}}, modules={"helper.py": source}
    )
    path = script("import sys\nprint(sys.argv)\n{}['x']")
    done = site.mox("run", path, "--own")
    assert (done.returncode, done.stderr) == (
        1,
        "mox: error: there is no 'x'.\n  Look elsewhere.\n",
    )
    assert done.stdout == f"preparing {path}\n['{path}', '--own']\n"
    done = site.mox("run", script("1 / 0"))
    assert "ZeroDivisionError" in done.stderr
