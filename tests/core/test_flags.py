from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import textwrap

import pytest

from mox_core.errors import FlagError
from mox_core.flags.arguments import scan
from mox_core.flags.definitions import DEFINITIONS
from mox_core.flags.flag import Flag
from mox_core.flags.flag_registry import FlagRegistry, get_flag, registry, set_flag


@pytest.fixture
def flags(monkeypatch):
    """A registry of mox's flags on an empty command line, without MOX_* in the environment."""
    for variable in [name for name in os.environ if name.startswith("MOX_")]:
        monkeypatch.delenv(variable)
    monkeypatch.setattr(sys, "argv", ["script.py"])
    return FlagRegistry(DEFINITIONS)


@pytest.fixture
def process_flags(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["script.py"])
    registry().reset()
    yield registry()
    registry().reset()


# --- values ---------------------------------------------------------------------------------


def test_defaults_that_scripts_rely_on(flags):
    assert flags.get("worker_hosts") == ""
    assert len(flags.get("worker_hosts").split(",")) == 1
    assert flags.get("num_gpus") == 1
    assert flags.get("checkpoint_exclude_patterns") == ""
    assert flags.get("loss_scale") == 1.0
    assert flags.get("variable_update") == "parameter_server"
    assert flags.get("sync_replicas") is False
    assert flags.get("log_first_clone") is True
    assert flags.get("engine") is None
    assert flags.get("nan") == "stop"
    assert flags.get("keep_checkpoint_max") == 5


def test_names_of_scripts_are_free(flags):
    theirs = {"batch_size", "log_dir", "run_mode", "data_format", "split_to_device"}
    assert not theirs & set(flags.names())
    assert "max_steps" not in flags.names()
    with pytest.raises(FlagError, match="'batch_size' belongs to the scripts"):
        Flag("batch_size", int, 1)


def test_order_of_precedence(flags, monkeypatch):
    monkeypatch.setenv("MOX_NUM_GPUS", "2")
    assert flags.get("num_gpus") == 2
    flags.parse(["script.py", "--num_gpus=3"])
    assert flags.get("num_gpus") == 3
    flags.set("num_gpus", 4)
    assert flags.get("num_gpus") == 4
    flags.parse(["script.py", "--num_gpus=5"])
    assert flags.get("num_gpus") == 4
    flags.reset()
    assert flags.get("num_gpus") == 2
    monkeypatch.setenv("MOX_NUM_GPUS", "")
    assert flags.get("num_gpus") == 1


def test_silent_mode_of_moxing_sets_silent(flags, monkeypatch):
    monkeypatch.setenv("MOX_SILENT_MODE", "true")
    assert flags.get("silent") is True
    monkeypatch.setenv("MOX_SILENT", "0")
    assert flags.get("silent") is False


@pytest.mark.parametrize(
    ("args", "name", "value"),
    [
        (["--num_gpus", "2"], "num_gpus", 2),
        (["--num_gpus=2"], "num_gpus", 2),
        (["-num_gpus=2"], "num_gpus", 2),
        (["--num-gpus", "2"], "num_gpus", 2),
        (["--num_gpus=2", "--num_gpus=3"], "num_gpus", 3),
        (["train", "--num_gpus", "2", "data"], "num_gpus", 2),
        (["--", "--num_gpus", "2"], "num_gpus", 1),
        (["-num_gpus", "2"], "num_gpus", 1),
        (["--num_gpus_per_node=2"], "num_gpus", 1),
        (["--gradient_clip", "-.5"], "gradient_clip", -0.5),
        (["--loss_scale", "dynamic"], "loss_scale", "dynamic"),
        (["--loss_scale", "1024"], "loss_scale", 1024.0),
        (["--worker_hosts=a:1,b:2"], "worker_hosts", "a:1,b:2"),
        (["--checkpoint_exclude_patterns="], "checkpoint_exclude_patterns", ""),
        (["--use_fp16"], "use_fp16", True),
        (["--use_fp16", "false"], "use_fp16", True),
        (["--use_fp16=True"], "use_fp16", True),
        (["--use_fp16=1"], "use_fp16", True),
        (["--log_first_clone=false"], "log_first_clone", False),
        (["--log_first_clone=0"], "log_first_clone", False),
        (["--nolog_first_clone"], "log_first_clone", False),
        (["--no-log-first-clone"], "log_first_clone", False),
        (["--no-plugins"], "no_plugins", True),
        (["--nonum_gpus"], "num_gpus", 1),
    ],
)
def test_forms_on_the_command_line(flags, args, name, value):
    argv = ["script.py", *args]
    flags.parse(argv)
    assert flags.get(name) == value
    assert type(flags.get(name)) is type(value)
    assert argv == ["script.py", *args]


def test_sys_argv_is_read_at_first_use_and_left_alone(flags, monkeypatch):
    argv = ["script.py", "--num_gpus", "2", "--own", "3"]
    monkeypatch.setattr(sys, "argv", argv)
    assert flags.get("num_gpus") == 2
    assert sys.argv == ["script.py", "--num_gpus", "2", "--own", "3"]


@pytest.mark.parametrize(
    ("args", "name", "message"),
    [
        (
            ["--num_gpus=abc"],
            "num_gpus",
            "flag --num_gpus: 'abc' is not an integer (from the command line)",
        ),
        (
            ["--num_gpus"],
            "num_gpus",
            "flag --num_gpus: a value is missing (from the command line)",
        ),
        (
            ["--num_gpus", "--own"],
            "num_gpus",
            "flag --num_gpus: a value is missing (from the command line)",
        ),
        (
            ["--use_fp16=maybe"],
            "use_fp16",
            "flag --use_fp16: 'maybe' is not a boolean (true or false) (from the command line)",
        ),
        (
            ["--loss_scale=big"],
            "loss_scale",
            "flag --loss_scale: 'big' is not a number or 'dynamic' (from the command line)",
        ),
        (
            ["--nan=keep"],
            "nan",
            "flag --nan: 'keep' is not one of stop, ignore (from the command line)",
        ),
    ],
)
def test_bad_values_on_the_command_line(flags, args, name, message):
    flags.parse(["script.py", *args])
    with pytest.raises(FlagError) as caught:
        flags.get(name)
    assert str(caught.value) == message


def test_bad_values_elsewhere_name_their_source(flags, monkeypatch):
    monkeypatch.setenv("MOX_RANK", "first")
    with pytest.raises(FlagError, match="from the environment variable MOX_RANK"):
        flags.get("rank")
    with pytest.raises(FlagError, match=r"--rank: 'first' is not an integer \(from set_flag\)"):
        flags.set("rank", "first")
    with pytest.raises(FlagError, match=r"2\.5 is not an integer"):
        flags.set("rank", 2.5)
    with pytest.raises(FlagError, match=r"\['a'\] is not a string"):
        flags.set("worker_hosts", ["a"])


def test_set_converts_and_none_means_the_default(flags):
    flags.set("loss_scale", 1024)
    assert flags.get("loss_scale") == 1024.0
    assert isinstance(flags.get("loss_scale"), float)
    flags.set("num_gpus", "2")
    assert flags.get("num_gpus") == 2
    flags.set("worker_hosts", None)
    assert flags.get("worker_hosts") == ""


def test_unknown_names(flags):
    with pytest.raises(FlagError, match=r"no flag 'num_gpu'\. Did you mean 'num_gpus'\?"):
        flags.get("num_gpu")
    with pytest.raises(FlagError, match="no flag 'batch_size'"):
        flags.set("batch_size", 3)
    with pytest.raises(FlagError, match="--mox-help lists all flags"):
        flags.get("zzz")


def test_get_flag_and_set_flag_as_the_manual_calls_them(process_flags):
    set_flag("worker_hosts", "a:1,b:1")
    assert get_flag(flag_name="worker_hosts") == "a:1,b:1"
    assert get_flag("worker_hosts") == "a:1,b:1"


# --- definitions ----------------------------------------------------------------------------


def test_a_defined_flag_reads_the_command_line_that_was_read_before(flags):
    flags.parse(["script.py", "--my_depth=4"])
    assert flags.get("num_gpus") == 1
    flags.define(Flag("my_depth", int, 2, "depth"))
    assert flags.get("my_depth") == 4


def test_defining_twice(flags):
    flags.define(Flag("my_depth", int, 2, "depth"))
    flags.define(Flag("my_depth", int, 2, "depth"))
    with pytest.raises(FlagError, match="flag --my_depth is defined already: depth"):
        flags.define(Flag("my_depth", int, 3, "another depth"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("My-Depth", int), "lower-case words joined by underscores"),
        (("depth", list), "the type must be bool, int, float or str"),
        (("depth", int, "deep"), r"'deep' is not an integer \(its default\)"),
    ],
)
def test_bad_definitions(arguments, message):
    with pytest.raises(FlagError, match=message):
        Flag(*arguments)


def test_describe_tells_all_of_every_flag(flags):
    flags.define(Flag("my_depth", int, 2, "how deep it goes"))
    text = flags.describe()
    for flag in flags.flags.values():
        assert f"--{flag.name} " in text
        assert flag.help
        assert flag.help in text
        assert flag.env in text
    assert "str|" not in text
    assert "stop|ignore, default stop, MOX_NAN" in text


def test_scan_reports_where_flags_stand(flags):
    args = ["a", "--num_gpus", "2", "--own=1", "--nouse_fp16", "--", "--rank=1"]
    found = [(f.flag.name, f.text, f.start, f.stop) for f in scan(args, flags.flags)]
    assert found == [("num_gpus", "2", 1, 3), ("use_fp16", "false", 4, 5)]


# --- beside a script's own parser -----------------------------------------------------------


@pytest.fixture
def run_script(tmp_path):
    """Run a script that imports mox, with arguments, as a user does."""

    def run(
        source: str,
        *args: str,
        env: dict[str, str] | None = None,
        imports: str = "import mox_core as mox\n",
    ):
        script = tmp_path / "script.py"
        script.write_text(imports + textwrap.dedent(source))
        environment = {k: v for k, v in os.environ.items() if not k.startswith("MOX_")}
        return subprocess.run(
            [sys.executable, str(script), *args],
            capture_output=True,
            text=True,
            timeout=120,
            env={**environment, **(env or {})},
        )

    return run


def out(result: subprocess.CompletedProcess[str]) -> list[str]:
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()


def test_mox_help_lists_the_flags_and_stops(run_script):
    result = run_script("print('not reached')", "--own", "1", "--mox-help")
    lines = out(result)
    assert lines[0].startswith("Flags of mox")
    assert any(line.startswith("  --num_gpus ") for line in lines)
    assert "not reached" not in result.stdout


def test_mox_help_after_the_end_of_options_belongs_to_the_script(run_script):
    assert out(run_script("print('reached')", "--", "--mox-help")) == ["reached"]


def test_importing_mox_imports_no_parser(run_script):
    source = """
        import sys
        print({"argparse", "absl", "click"} & set(sys.modules))
    """
    assert out(run_script(source)) == ["set()"]


ARGPARSE = """
    import argparse
    import sys

    parser = argparse.ArgumentParser()
    parser.add_argument("--lr", type=float, default=0.1)
    parser.add_argument("--engine_size", type=int)
    parser.add_argument("--rank", type=int)
    parser.add_argument("data", nargs="?")
    args = parser.parse_args()
    print(args.lr, args.engine_size, args.rank, args.data)
    print(mox.get_flag("num_gpus"), mox.get_flag("engine"), mox.get_flag("rank"))
    print(len(sys.argv))
"""


def test_argparse_sees_its_own_options_only(run_script):
    args = ["--lr", "2", "--num_gpus", "2", "--no-plugins", "--use_fp16", "digits"]
    assert out(run_script(ARGPARSE, *args)) == ["2.0 None None digits", "2 None 0", "8"]


def test_argparse_and_mox_both_see_a_name_that_both_define(run_script):
    assert out(run_script(ARGPARSE, "--rank", "3")) == ["0.1 None 3 None", "1 None 3", "3"]


def test_argparse_abbreviations_do_not_take_flags_of_mox(run_script):
    lines = out(run_script(ARGPARSE, "--engine", "toy", "--engine_s", "4"))
    assert lines == ["0.1 4 None None", "1 toy 0", "5"]


def test_argparse_still_refuses_unknown_options(run_script):
    result = run_script(ARGPARSE, "--num_gpus", "2", "--depth=3")
    assert result.returncode == 2
    assert "error: unrecognized arguments: --depth=3" in result.stderr


def test_argparse_reports_a_bad_value_of_mox_as_its_own(run_script):
    result = run_script(ARGPARSE, "--num_gpus", "many")
    assert result.returncode == 2
    assert "error: flag --num_gpus: 'many' is not an integer" in result.stderr
    assert "Traceback" not in result.stderr


def test_argparse_imported_before_mox(run_script):
    source = """
        import argparse
        import mox_core as mox
        print(argparse.ArgumentParser().parse_args(), mox.get_flag("num_gpus"))
    """
    assert out(run_script(source, "--num_gpus=2", imports="")) == ["Namespace() 2"]


def test_argparse_sub_parsers_see_what_they_define(run_script):
    source = """
        import argparse

        parser = argparse.ArgumentParser()
        commands = parser.add_subparsers(dest="command", required=True)
        train = commands.add_parser("train")
        train.add_argument("--engine")
        commands.add_parser("eval").add_argument("--split")
        print(parser.parse_args(), mox.get_flag("engine"), mox.get_flag("num_gpus"))
    """
    assert out(run_script(source, "train", "--engine", "toy", "--num_gpus", "2")) == [
        "Namespace(command='train', engine='toy') toy 2"
    ]
    assert out(run_script(source, "--num_gpus=2", "eval", "--engine=toy", "--split=x")) == [
        "Namespace(command='eval', split='x') toy 2"
    ]


def test_argparse_with_explicit_arguments_or_a_remainder_gets_all_of_them(run_script):
    source = """
        import argparse

        parser = argparse.ArgumentParser()
        parser.add_argument("--own")
        print(parser.parse_known_args()[1])
        print(parser.parse_known_args(["--num_gpus=5"])[1])
        parser.add_argument("command", nargs=argparse.REMAINDER)
        print(parser.parse_args().command)
    """
    lines = out(run_script(source, "--own=1", "other.py", "--num_gpus=2"))
    assert lines == [
        "['other.py', '--num_gpus=2']",
        "['--num_gpus=5']",
        "['other.py', '--num_gpus=2']",
    ]


def test_coexistence_can_be_switched_off(run_script):
    result = run_script(ARGPARSE, "--num_gpus=2", env={"MOX_FLAGS": "off"})
    assert result.returncode == 2
    assert "unrecognized arguments: --num_gpus=2" in result.stderr


needs_absl = pytest.mark.skipif(
    importlib.util.find_spec("absl") is None, reason="absl-py is not installed"
)

ABSL = """
    import sys

    from absl import app, flags

    flags.DEFINE_integer("depth", 1, "depth of the script's own")
    flags.DEFINE_string("ps_hosts", "mine", "the script's own flag with a name of mox")
    FLAGS = flags.FLAGS

    def main(argv):
        print(argv[1:], FLAGS.depth, FLAGS.ps_hosts, FLAGS.num_gpus)
        print(mox.get_flag("num_gpus"), mox.get_flag("ps_hosts"), mox.get_flag("use_fp16"))

    if __name__ == "__main__":
        app.run(main)
"""


@needs_absl
def test_absl_beside_mox(run_script):
    args = ["--depth=2", "--num_gpus", "3", "--use-fp16", "--no-plugins", "rest"]
    assert out(run_script(ABSL, *args)) == ["['rest'] 2 mine 3", "3  True"]


@needs_absl
def test_absl_and_mox_both_see_a_name_that_both_define(run_script):
    assert out(run_script(ABSL, "--ps_hosts=a:1")) == ["[] 1 a:1 1", "1 a:1 False"]


@needs_absl
def test_absl_defined_before_mox_is_imported(run_script):
    source = """
        from absl import app, flags
        flags.DEFINE_string("ps_hosts", "mine", "the script's own")
        import mox_core as mox
        print(flags.FLAGS(["script", "--num_gpus=2"]), flags.FLAGS.ps_hosts)
        print(mox.get_flag("num_gpus"))
    """
    assert out(run_script(source, imports="")) == ["['script'] mine", "2"]


@needs_absl
def test_absl_reads_the_environment_and_what_a_script_sets(run_script):
    source = """
        import sys
        from absl import flags

        mox.set_flag("rank", 6)
        print(flags.FLAGS(sys.argv, known_only=True)[1:])
        print(flags.FLAGS.num_gpus, flags.FLAGS.rank)
        flags.FLAGS.num_gpus = 7
        print(mox.get_flag("num_gpus"), mox.get_flag("keep_checkpoint_max"))
        flags.FLAGS.set_default("keep_checkpoint_max", 8)
        print(mox.get_flag("keep_checkpoint_max"), flags.FLAGS.keep_checkpoint_max)
    """
    lines = out(run_script(source, "--rank=2", "--own=1", env={"MOX_NUM_GPUS": "4"}))
    assert lines == ["['--own=1']", "4 6", "7 5", "8 8"]


@needs_absl
def test_absl_knows_flags_that_plugins_define_later(run_script):
    source = """
        import sys
        from absl import flags
        from mox_core.flags import Flag, registry

        registry().define(Flag("my_depth", int, 2, "depth"))
        flags.FLAGS(sys.argv)
        print(flags.FLAGS.my_depth, mox.get_flag("my_depth"))
    """
    assert out(run_script(source, "--my_depth=3")) == ["3 3"]


@needs_absl
def test_absl_refuses_unknown_flags_and_bad_values(run_script):
    result = run_script(ABSL, "--num_gpus=2", "--dept=3")
    assert result.returncode == 1
    assert "Unknown command line flag 'dept'. Did you mean: depth ?" in result.stderr
    result = run_script(ABSL, "--num_gpus=many")
    assert result.returncode == 1
    assert "'many' is not an integer" in result.stderr
    assert "Traceback" not in result.stderr


@needs_absl
def test_absl_shows_mox_flags_in_its_full_help(run_script):
    result = run_script(ABSL, "--helpfull")
    assert "mox_core.flags:" in result.stdout
    assert "--num_gpus: towers in this process" in result.stdout


needs_click = pytest.mark.skipif(
    importlib.util.find_spec("click") is None, reason="click is not installed"
)

CLICK = """
    import click

    @click.group()
    @click.option("--depth", default=1)
    def cli(depth):
        print(depth)

    @cli.command()
    @click.option("--engine", default="mine")
    @click.argument("rank")
    def train(engine, rank):
        print(engine, rank, mox.get_flag("engine"), mox.get_flag("rank"), mox.get_flag("num_gpus"))

    @cli.command()
    def evaluate():
        print(mox.get_flag("engine"))

    if __name__ == "__main__":
        cli()
"""


@needs_click
def test_click_beside_mox(run_script):
    args = ["--depth=2", "--num_gpus", "3", "train", "--rank", "4", "first"]
    assert out(run_script(CLICK, *args)) == ["2", "mine first None 4 3"]


@needs_click
def test_click_commands_see_what_they_define(run_script):
    assert out(run_script(CLICK, "train", "--engine=toy", "x")) == ["1", "toy x toy 0 1"]
    assert out(run_script(CLICK, "evaluate", "--engine=toy")) == ["1", "toy"]


@needs_click
def test_click_refuses_unknown_options_and_bad_values(run_script):
    result = run_script(CLICK, "evaluate", "--breadth=1")
    assert result.returncode == 2
    assert "--breadth" in result.stderr
    result = run_script(CLICK, "evaluate", "--num_gpus=many")
    assert result.returncode == 2
    assert "flag --num_gpus: 'many' is not an integer" in result.stderr
    assert "Traceback" not in result.stderr


@needs_click
def test_click_with_explicit_arguments_or_unknown_options_allowed_gets_all(run_script):
    source = """
        import click

        @click.command(context_settings={"ignore_unknown_options": True})
        @click.argument("command", nargs=-1, type=click.UNPROCESSED)
        def wrap(command):
            print(command)

        wrap(["--num_gpus=5"], standalone_mode=False)
        wrap()
    """
    assert out(run_script(source, "other.py", "--num_gpus=2")) == [
        "('--num_gpus=5',)",
        "('other.py', '--num_gpus=2')",
    ]


needs_typer = pytest.mark.skipif(
    importlib.util.find_spec("typer") is None, reason="typer is not installed"
)

TYPER = """
    import typer

    app = typer.Typer()

    @app.command()
    def train(depth: int = 1, engine: str = "mine"):
        print(depth, engine, mox.get_flag("engine"), mox.get_flag("num_gpus"))
"""


@needs_typer
@pytest.mark.parametrize("commands", ["", "@app.command()\n    def evaluate():\n        print(1)"])
def test_typer_beside_mox(run_script, commands):
    """typer makes another kind of command of a single function than of several."""
    source = f"{TYPER}\n    {commands}\n    app()\n"
    name = ["train"] if commands else []
    assert out(run_script(source, *name, "--num_gpus", "3", "--depth=2")) == ["2 mine None 3"]
    assert out(run_script(source, *name, "--engine", "toy")) == ["1 toy toy 1"]
    for argument, told in [("--breadth=1", "--breadth"), ("--num_gpus=many", "is not an integer")]:
        result = run_script(source, *name, argument)
        assert result.returncode == 2
        assert told in result.stderr
        assert "Traceback" not in result.stderr
