from __future__ import annotations

import inspect
import json
import logging
import multiprocessing
import os
import shutil
import textwrap

import pytest

from mox_core.errors import PluginError
from mox_core.plugins import PluginManager, hookimpl, hookspecs
from mox_core.plugins.suggest import did_you_mean

ENGINE = """
    from mox_core.plugins import hookimpl

    @hookimpl
    def mox_engine(name):
        return f"the engine {name}"
    """

OBSERVER = """
    from mox_core.plugins import hookimpl

    @hookimpl
    def mox_run_start(run):
        print("told", run)
    """

SELECT = """
    from mox_core.plugins import get_manager
    from mox_core.errors import PluginError
    try:
        print(get_manager().select({}))
    except PluginError as error:
        print(error)
        print("cause:", repr(error.__cause__))
    """

TELL = """
    from mox_core.plugins import get_manager
    manager = get_manager()
    manager.load_observers()
    manager.notify("mox_run_start", run="a run")
    manager.notify("mox_run_start", run="another run")
    """


def select(site, kind, name, asked=None):
    """What a user sees who asks for a plugin: the result, or the lines of the error."""
    return site.python(SELECT.format(f"{kind!r}, {name!r}, asked={asked!r}")).splitlines()


def tell(site):
    done = site.run("-c", inspect.cleandoc(TELL))
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines(), done.stderr.splitlines()


def engine(site, name="tf", distribution=None, **options):
    distribution = distribution or f"mox-{name}"
    module = distribution.replace("-", "_")
    modules = {f"{module}.py": options.pop("source", ENGINE)}
    groups = {"mox.engines": {name: module}}
    site.install(distribution, groups=groups, modules=modules, **options)


def observer(site, name, source=OBSERVER, **options):
    groups = {"mox.plugins": {name: f"{name}_plugin"}}
    modules = {f"{name}_plugin.py": source}
    site.install(f"{name}-dist", groups=groups, modules=modules, **options)


def states(site):
    code = """
        import dataclasses, json
        from mox_core.plugins import get_manager
        print(json.dumps([dataclasses.asdict(info) for info in get_manager().infos()]))
        """
    return {info["name"]: info for info in json.loads(site.python(code))}


# ---- Select --------------------------------------------------------------------------------------


def test_selects_by_name_and_imports_nothing_else(site):
    engine(site)
    engine(site, "torch", source="raise RuntimeError('imported for nothing')")
    observer(site, "watch", source="raise RuntimeError('imported for nothing')")
    code = SELECT.format("'engine', 'tf'") + "\n    import sys; print(sorted(sys.modules))"
    result, modules = site.python(code).splitlines()
    assert result == "the engine tf"
    assert "mox_tf" in modules
    for absent in ("mox_torch", "watch_plugin", "numpy", "argparse", "difflib", "packaging"):
        assert f"'{absent}'" not in modules


def test_drivers_and_data_sets_are_selected_alike(site):
    source = """
        from mox_core.plugins import hookimpl

        @hookimpl
        def mox_storage(scheme):
            return f"the driver {scheme}"

        @hookimpl
        def mox_dataset():
            return "the data set"
        """
    groups = {"mox.storage": {"s3": "things", "obs": "things"}, "mox.datasets": {"mnist": "things"}}
    site.install("things", groups=groups, modules={"things.py": source})
    assert select(site, "storage", "obs") == ["the driver obs"]
    assert select(site, "storage", "s3") == ["the driver s3"]
    assert select(site, "dataset", "mnist") == ["the data set"]


def test_absent_official_engine(site):
    engine(site)
    assert select(site, "engine", "torch")[:2] == [
        "engine 'torch' is not installed (installed: tf).",
        "  Install it with:  pip install mox-torch",
    ]


def test_absent_official_driver_quotes_the_url(site):
    groups = {"mox.storage": {"s3": "drivers", "file": "drivers"}}
    site.install("drivers", groups=groups)
    assert select(site, "storage", "obs", "obs://b/x")[:2] == [
        "no storage driver for 'obs://b/x' (installed: file, s3).",
        "  Install it with:  pip install mox-storage-obs",
    ]


def test_absent_unknown_names_invent_no_package(site):
    engine(site)
    assert select(site, "engine", "TFF")[:2] == [
        "engine 'TFF' is not installed (installed: tf). Did you mean 'tf'?",
        "  A package that provides it registers 'TFF' in the entry-point group 'mox.engines'.",
    ]
    lines = select(site, "dataset", "cats")
    assert lines[0] == "data set 'cats' is not installed (installed: none)."
    assert "pip install" not in "".join(lines)


def test_broken_is_not_absent(site):
    engine(site, source="import tensorflow", version="0.1.0")
    assert select(site, "engine", "tf") == [
        "engine 'tf' is installed (mox-tf 0.1.0) but failed to load: "
        "ModuleNotFoundError: No module named 'tensorflow'",
        "  Run `mox doctor tf` for the full traceback.",
        """cause: ModuleNotFoundError("No module named 'tensorflow'")""",
    ]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("import tensorflow", "failed to load: ModuleNotFoundError: No module named 'tensorflow'"),
        ("raise ValueError('one\\ntwo')", "failed to load: ValueError: one"),
        ("raise SystemExit(3)", "failed to load: SystemExit: 3"),
        ("return None", "its plugin gives nothing for mox_engine('tf')."),
    ],
)
def test_a_select_hook_that_fails(site, body, said):
    source = f"""
        from mox_core.plugins import hookimpl

        @hookimpl
        def mox_engine(name):
            {body}
        """
    engine(site, source=source)
    assert select(site, "engine", "tf")[0].endswith(said)


def test_a_plugin_without_its_select_hook(site):
    engine(site, source="def mox_engine(name): return 'not marked'")
    assert "its plugin gives nothing for mox_engine('tf')." in select(site, "engine", "tf")[0]
    assert "@mox_core.plugins.hookimpl" in select(site, "engine", "tf")[1]


def test_errors_of_mox_from_a_plugin_are_left_alone(site):
    source = """
        from mox_core.errors import PluginError
        from mox_core.plugins import hookimpl

        @hookimpl
        def mox_engine(name):
            raise PluginError("no GPU here")
        """
    engine(site, source=source)
    assert select(site, "engine", "tf") == ["no GPU here", "cause: None"]


def test_an_engine_that_the_program_registers():
    class Plugin:
        @hookimpl
        def mox_engine(self, name):
            return [name]

    manager = PluginManager()
    manager.register(Plugin(), "mine", kind="engine")
    assert manager.select("engine", "mine") == ["mine"]
    assert "mine" in manager.names("engine")


def test_a_name_that_two_distributions_claim(site):
    engine(site)
    engine(site, "tf", distribution="other-tf", version="2.0")
    assert select(site, "engine", "tf")[:2] == [
        "engine 'tf' is provided by several distributions: mox-tf 1.0, other-tf 2.0.",
        "  Keep one of them, for example:  pip uninstall other-tf",
    ]
    assert states(site)["tf"]["state"] == "duplicate"


def test_equal_names_in_different_groups_do_not_clash(site):
    engine(site, "x")
    observer(site, "x")
    assert select(site, "engine", "x") == ["the engine x"]
    assert tell(site) == (["told a run", "told another run"], [])


def test_a_distribution_that_is_on_the_path_twice_counts_once(site):
    engine(site, version="2.0")
    engine_again = {"groups": {"mox.engines": {"tf": "nothing"}}, "folder": site.folder / "second"}
    site.install("Mox_TF", "1.0", **engine_again)
    path = [site.folder, site.folder / "second", site.base]
    site.environment["PYTHONPATH"] = os.pathsep.join(map(str, path))
    assert select(site, "engine", "tf") == ["the engine tf"]
    assert states(site)["tf"]["version"] == "2.0"


@pytest.mark.parametrize(
    ("requirement", "fits"),
    [
        ("mox-core>=0.1,<0.2", True),
        ("mox-core[testing]", True),
        ("Mox_Core>=99", False),
        ("mox-core>=99; extra == 'new'", True),
        ("mox-core-extras>=99", True),
    ],
)
def test_the_version_of_mox_core_that_a_plugin_requires(site, requirement, fits):
    engine(site, requires=[requirement, "numpy>=1"])
    lines = select(site, "engine", "tf")
    if fits:
        assert lines == ["the engine tf"]
    else:
        import mox_core

        assert lines[:2] == [
            "engine 'tf' is installed (mox-tf 1.0) but needs mox-core>=99, "
            f"and this is mox-core {mox_core.__version__}.",
            "  Install versions that fit:  pip install --upgrade mox-core mox-tf",
        ]
        assert states(site)["tf"]["state"] == "incompatible"


@pytest.mark.parametrize("version", ["0.1", "0.1.0", "0.1.9", "0.2", "1.0.0", "0.2.dev1"])
@pytest.mark.parametrize(
    "bounds", [">=0.1,<0.2", "<0.2,>=0.1.0", ">0.1", "<=0.1", "<=0.1.0.0", ">=0", "==0.1", "~=0.1"]
)
def test_the_quick_look_at_a_requirement_admits_only_what_packaging_does(bounds, version):
    from packaging.specifiers import SpecifierSet

    from mox_core.plugins.discovery import _plainly_met

    met = SpecifierSet(bounds).contains(version, prereleases=True)
    plain = "=0" not in bounds.replace(">=", "").replace("<=", "") and "dev" not in version
    assert _plainly_met(f"mox-core{bounds}", version) is (met and plain)


def test_metadata_that_cannot_be_read_cost_a_warning(site):
    engine(site)
    broken = site.install("broken", groups={"mox.engines": {"x": "x"}})
    (broken / "entry_points.txt").write_bytes(b"[mox.engines]\nx = \xff\xfe\n")
    done = site.run("-c", inspect.cleandoc(SELECT.format("'engine', 'tf'")))
    assert done.stdout.strip() == "the engine tf"
    assert len(done.stderr.splitlines()) == 1
    assert "broken-1.0.dist-info" in done.stderr


@pytest.mark.parametrize("place", ["a folder", "a zip file", "egg-info", "a finder"])
def test_plugins_are_found_wherever_importlib_finds_them(site, place):
    """In plain folders without `importlib.metadata`, which takes long to import."""
    engine(site, requires=["mox-core>=0.1"], version="3.1")
    code = "import sys\n"
    if place == "a zip file":
        shutil.make_archive(str(site.folder.parent / "packed"), "zip", site.folder)
        packed = str(site.folder.parent / "packed.zip")
        site.environment["PYTHONPATH"] = os.pathsep.join([packed, str(site.base)])
    elif place == "egg-info":
        (info,) = site.folder.glob("*.dist-info")
        (info / "METADATA").rename(info / "PKG-INFO")
        info.rename(info.with_name("mox_tf.egg-info"))
    elif place == "a finder":
        code += "class Finder:\n    find_spec = lambda *_: None\n"
        code += "    find_distributions = lambda *_: ()\nsys.meta_path.append(Finder)\n"
    code += "from mox_core.plugins import get_manager\n"
    code += "print(get_manager().select('engine', 'tf'), 'importlib.metadata' in sys.modules)\n"
    code += "print([(i.distribution, i.version, i.state) for i in get_manager().infos()])"
    found = str(place != "a folder")
    assert site.python(code).splitlines() == [f"the engine tf {found}", "[('mox-tf', '3.1', 'ok')]"]


def test_flags_of_a_plugin_are_known_once_it_is_loaded(site):
    source = """
        from mox_core.flags import Flag
        from mox_core.plugins import hookimpl

        @hookimpl
        def mox_add_flags(registry):
            registry.define(Flag("volume", int, 3))

        @hookimpl
        def mox_engine(name):
            return "loud"
        """
    engine(site, source=source)
    code = """
        import sys
        sys.argv = ["script", "--volume", "11"]
        from mox_core.flags import get_flag
        from mox_core.plugins import get_manager
        get_manager().select("engine", "tf")
        print(get_flag("volume"))
        """
    assert site.python(code) == "11"


PARSERS = {
    "none": "print(mox.get_flag('volume'))",
    "argparse": """
        import argparse
        parser = argparse.ArgumentParser()
        parser.add_argument("--depth", type=int)
        print(mox.get_flag("volume"), parser.parse_args().depth)
        """,
    "click": """
        import click
        @click.command()
        @click.option("--depth", type=int)
        def main(depth):
            print(mox.get_flag("volume"), depth)
        main()
        """,
    "absl": """
        from absl import app, flags
        flags.DEFINE_integer("depth", None, "")
        app.run(lambda argv: print(mox.get_flag("volume"), flags.FLAGS.depth))
        """,
}


@pytest.mark.parametrize("parser", PARSERS)
def test_the_flags_of_plugins_stand_beside_a_scripts_own(site, parser):
    if parser in ("absl", "click"):  # a site has only what is put into it
        found = pytest.importorskip(parser)
        (site.folder / parser).symlink_to(os.path.dirname(found.__file__))
    source = """
        from mox_core.flags import Flag
        from mox_core.plugins import hookimpl

        @hookimpl
        def mox_add_flags(registry):
            registry.define(Flag("volume", int, 3, "how loud"))

        @hookimpl
        def mox_engine(name):
            raise AssertionError("the engine itself must not be made")
        """
    engine(site, source=source)
    engine(site, "broken", source="raise OSError('no such disk')")
    code = textwrap.dedent(PARSERS[parser])
    given = "['script', '--volume', '11', '--depth=5']"
    preamble = f"import sys; sys.argv = {given}; import mox_core as mox\n"
    assert site.python(preamble + code) == ("11" if parser == "none" else "11 5")
    assert "how loud" in site.python("import sys; sys.argv += ['--mox-help']; import mox_core")


# ---- Restricting ---------------------------------------------------------------------------------


def test_mox_plugins_restricts_engines_and_observers(site):
    engine(site)
    observer(site, "a")
    observer(site, "b")
    site.environment["MOX_PLUGINS"] = "a, x"
    out, err = tell(site)
    assert out == ["told a run", "told another run"]
    assert err == ["MOX_PLUGINS names 'x', which is not installed."]
    assert select(site, "engine", "tf")[:2] == [
        "engine 'tf' is installed (mox-tf 1.0) but MOX_PLUGINS=a,x excludes it.",
        "  Add 'tf' to MOX_PLUGINS, or unset it.",
    ]
    assert {name: info["state"] for name, info in states(site).items()} == {
        "tf": "disabled",
        "a": "ok",
        "b": "disabled",
    }
    site.environment["MOX_PLUGINS"] = "mox.engines:tf"
    assert select(site, "engine", "tf") == ["the engine tf"]
    assert tell(site) == ([], [])


def test_an_excluded_engine_is_no_choice(site):
    engine(site, "tf")
    engine(site, "torch")
    code = "from mox_core.plugins import get_manager; print(get_manager().names('engine'))"
    assert site.python(code) == "['tf', 'torch']"
    site.environment["MOX_PLUGINS"] = "torch"
    assert site.python(code) == "['torch']"


def test_no_plugins_leaves_observers_alone_but_not_the_engine(site):
    engine(site)
    observer(site, "a", source="raise RuntimeError('imported for nothing')")
    site.environment["MOX_NO_PLUGINS"] = "1"
    assert tell(site) == ([], [])
    assert select(site, "engine", "tf") == ["the engine tf"]
    assert states(site)["a"]["state"] == "disabled"
    site.environment["MOX_NO_PLUGINS"] = "no"
    assert "imported for nothing" in tell(site)[1][0]


def test_configure_drops_and_brings_back_observers(site):
    observer(site, "a")
    code = """
        from mox_core.plugins import get_manager
        manager = get_manager()
        manager.load_observers()
        manager.configure(enabled=False)
        assert manager.disabled
        manager.load_observers()
        manager.notify("mox_run_start", run=1)
        manager.configure(enabled=True, only=["a"])
        manager.load_observers()
        manager.notify("mox_run_start", run=2)
        manager.configure(only=["b"])
        manager.notify("mox_run_start", run=3)
        """
    assert site.python(code) == "told 2"


# ---- Observers -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import nothing_like_it", "ModuleNotFoundError: No module named 'nothing_like_it'"),
        ("raise SystemExit('leaving')", "SystemExit: leaving"),
        ("def (", "SyntaxError: invalid syntax"),
        (
            OBSERVER + "\n    @hookimpl\n    def mox_step_ended(): pass",
            "it implements the unknown hook mox_step_ended. Did you mean 'mox_step_end'?",
        ),
        (
            OBSERVER + "\n    @hookimpl\n    def mox_step_end(runn): pass",
            "Argument(s) {'runn'} are declared in the hookimpl but can not be found",
        ),
        (
            OBSERVER + "\n    @hookimpl(wrapper=True)\n    def mox_run_end(): yield",
            "its mox_run_end is a hook wrapper, which mox does not call",
        ),
    ],
)
def test_a_broken_observer_is_one_warning_line(site, source, said):
    observer(site, "bad", source=source)
    observer(site, "good")
    out, err = tell(site)
    assert out == ["told a run", "told another run"]
    assert len(err) == 1
    assert said in err[0]
    assert err[0].startswith("plugin 'bad' is installed (bad-dist 1.0) but failed to load: ")
    assert err[0].endswith(" Run `mox doctor bad` for the full traceback.")
    bad = states(site)["bad"]
    assert (bad["state"], bad["hooks"]) == ("broken", [])
    assert said in bad["error"]


def test_an_observer_that_is_ill_fitting_or_ambiguous_is_one_warning_line(site):
    observer(site, "old", requires=["mox-core<0.0.1"])
    observer(site, "twice")
    site.install("other", groups={"mox.plugins": {"twice": "twice_plugin"}})
    out, err = tell(site)
    assert out == []
    assert len(err) == 2
    assert "needs mox-core<0.0.1" in err[0]
    assert "provided by several distributions: other 1.0, twice-dist 1.0." in err[1]


class Failing:
    @hookimpl
    def mox_step_end(self, run):
        raise ValueError("no room\nmore")

    @hookimpl
    def mox_run_end(self):
        raise KeyError("x")

    @hookimpl
    def mox_should_stop(self, run):
        raise OSError("no network")


class Recording:
    def __init__(self, answer=None):
        self.seen = []
        self.answer = answer

    @hookimpl
    def mox_step_end(self, run, result):
        self.seen.append((run, result))

    @hookimpl
    def mox_should_stop(self):
        self.seen.append("asked")
        return self.answer


def warnings_in(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


def test_an_observer_that_raises_stops_nobody_and_is_said_once(caplog):
    manager = PluginManager()
    first, last = Recording(), Recording()
    manager.register(first, "first")
    manager.register(Failing(), "bad")
    manager.register(last, "last")
    for step in (1, 2):
        manager.notify("mox_step_end", run="run", result=step)
    manager.notify("mox_run_end", run="run")
    assert first.seen == last.seen == [("run", 1), ("run", 2)]
    (warning,) = warnings_in(caplog)
    assert "plugin 'mox.plugins:bad' failed in mox_step_end: ValueError: no room " in warning
    assert "\n" not in warning


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_interrupts_pass_through_observers(error):
    class Interrupted:
        @hookimpl
        def mox_run_start(self):
            raise error

    manager = PluginManager()
    manager.register(Interrupted(), "interrupted")
    with pytest.raises(error):
        manager.notify("mox_run_start", run=None)


def test_the_first_answer_decides_and_a_failing_plugin_has_none(caplog):
    manager = PluginManager()
    never, willing, silent = Recording("no budget"), Recording("plateau"), Recording()
    for name, plugin in {"n": never, "w": willing, "s": silent, "f": Failing()}.items():
        manager.register(plugin, name)
    assert manager.decide("mox_should_stop", run="run") == "plateau"
    assert (never.seen, willing.seen, silent.seen) == ([], ["asked"], ["asked"])
    assert "OSError: no network" in warnings_in(caplog)[0]
    assert manager.decide("mox_make_progress", total=3, description="") is None


def test_answers_are_collected_by_plugin():
    manager = PluginManager()
    manager.register(Recording("late"), "a")
    manager.register(Recording(), "b")
    assert manager.collect("mox_should_stop", run=None) == {"mox.plugins:a": "late"}


def test_plugins_come_and_go_at_run_time():
    manager = PluginManager()
    recording = Recording()
    assert not manager.implements("mox_step_end", "mox_run_end")
    manager.notify("mox_step_end", run=0, result=0)
    manager.register(recording, "mine")
    assert manager.implements("mox_run_end", "mox_step_end")
    manager.notify("mox_step_end", run=1, result=1)
    with pytest.raises(PluginError, match="'mox.plugins:mine' is loaded already"):
        manager.register(Recording(), "mine")
    manager.unregister("mine")
    manager.notify("mox_step_end", run=2, result=2)
    assert recording.seen == [(1, 1)]
    with pytest.raises(PluginError, match="no plugin 'mox.plugins:mine' was registered"):
        manager.unregister("mine")


def test_one_module_behind_several_entry_points_is_told_once(site):
    source = OBSERVER + "\n    @hookimpl\n    def mox_engine(name): return name"
    groups = {"mox.engines": {"e": "both"}, "mox.plugins": {"o": "both"}}
    site.install("both", groups=groups, modules={"both.py": source})
    code = """
        from mox_core.plugins import get_manager
        manager = get_manager()
        manager.load_observers()
        print(manager.select("engine", "e"))
        manager.notify("mox_run_start", run=1)
        manager.configure(enabled=False)
        print(manager.select("engine", "e"))
        """
    assert site.python(code).splitlines() == ["e", "told 1", "e"]


# ---- Processes -----------------------------------------------------------------------------------

WORKERS = """
    import multiprocessing, sys

    def work(queue):
        from mox_core.plugins import get_manager
        manager = get_manager()
        inherited = manager.implements("mox_run_start", "mox_run_end")
        manager.load_observers()
        manager.load_observers()
        manager.notify("mox_run_start", run="worker")
        queue.put((inherited, manager.implements("mox_run_end"), manager.disabled))

    if __name__ == "__main__":
        from mox_core.plugins import get_manager, hookimpl

        class ByHand:
            @hookimpl
            def mox_run_end(self): pass

        manager = get_manager()
        manager.load_observers()
        manager.register(ByHand(), "by-hand")
        assert get_manager() is manager
        if len(sys.argv) > 2:
            manager.configure(enabled=False)
        context = multiprocessing.get_context(sys.argv[1])
        queue = context.Queue()
        worker = context.Process(target=work, args=(queue,))
        worker.start()
        print(queue.get(timeout=60), flush=True)
        worker.join()
        manager.notify("mox_run_start", run="parent")
    """


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_workers_build_a_manager_of_their_own(site, method):
    observer(site, "a", source=OBSERVER.replace('"told"', '"told", __import__("os").getpid()'))
    observer(site, "b")
    script = site.folder / "script.py"
    script.write_text(inspect.cleandoc(WORKERS))
    done = site.run(script, method)
    assert done.returncode == 0, done.stderr
    report, *told = sorted(done.stdout.splitlines())
    # Neither inherited nor what the parent registered by hand.
    assert report == "(False, False, False)"
    from_a = [line.split() for line in told if line[5:6].isdigit()]
    from_b = [line for line in told if not line[5:6].isdigit()]
    assert from_b == ["told parent", "told worker"]
    assert sorted(who for _, _, who in from_a) == ["parent", "worker"]
    assert len({pid for _, pid, _ in from_a}) == 2


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="needs fork")
def test_forked_workers_inherit_the_restrictions(site):
    observer(site, "a")
    script = site.folder / "script.py"
    script.write_text(inspect.cleandoc(WORKERS))
    done = site.run(script, "fork", "--restricted")
    assert done.stdout.splitlines() == ["(False, False, True)"]


# ---- Listing and the contract --------------------------------------------------------------------


def test_infos_say_what_there_is(site):
    engine(site, version="0.3")
    observer(site, "watch")
    site.install("drivers", "2", groups={"mox.storage": {"s3": "gone"}})
    found = states(site)
    assert list(found) == ["tf", "s3", "watch"]
    assert found["tf"] == {
        "name": "tf",
        "kind": "engine",
        "distribution": "mox-tf",
        "version": "0.3",
        "state": "ok",
        "error": None,
        "hooks": ["mox_engine"],
    }
    assert found["s3"]["error"] == "ModuleNotFoundError: No module named 'gone'"
    assert found["watch"]["hooks"] == ["mox_run_start"]


def test_infos_list_what_the_program_registered():
    manager = PluginManager()
    manager.register(Recording(), "mine")
    (info,) = [info for info in manager.infos() if info.name == "mine"]
    assert (info.group, info.state) == ("mox.plugins", "ok")
    assert info.hooks == ("mox_should_stop", "mox_step_end")


def test_a_plugin_that_does_not_fit_is_not_registered():
    class Typo:
        @hookimpl
        def mox_run_ende(self):
            pass

    manager = PluginManager()
    with pytest.raises(PluginError, match="unknown hook mox_run_ende. Did you mean 'mox_run_end'"):
        manager.register(Typo(), "typo")
    manager.register(Recording(), "typo")


HOOKS = {name: hook for name, hook in vars(hookspecs).items() if name.startswith("mox_")}


@pytest.mark.parametrize("name", HOOKS)
def test_every_hook_is_documented_in_one_shape(name):
    hook = HOOKS[name]
    signature = inspect.signature(hook)
    summary, *parts = inspect.getdoc(hook).split("\n\n")
    assert summary.endswith(".")
    sections = [part for part in parts if part.startswith(("Args:", "Returns:"))]
    assert sections == parts
    described = [
        line.strip().split(":")[0]
        for line in parts[0].splitlines()[1:]
        if parts[0].startswith("Args:") and not line.startswith("     ")
    ]
    assert described == list(signature.parameters)
    assert parts[-1].startswith("Returns:")
    assert all(parameter.annotation for parameter in signature.parameters.values())
    assert signature.return_annotation is not inspect.Signature.empty
    stops = "Stops at the first result that is not None." in parts[-1]
    assert stops == hook.mox_spec["firstresult"]


def test_did_you_mean():
    assert did_you_mean("trian", ["train", "test"]) == " Did you mean 'train'?"
    assert did_you_mean("TORCH", ["torch"]) == " Did you mean 'torch'?"
    assert did_you_mean("zzz", ["train"]) == ""
    assert did_you_mean("x", []) == ""
