"""mox-compat: scripts written for MoXing run on mox. The package that they import is `moxing`.

This package holds what is not MoXing's: how `moxing` gives way to the real one (`aside`) and the
command `mox migrate`.
"""
