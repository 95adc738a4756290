"""StorageSuite over a server that cannot do everything, with or without the data plane."""

from __future__ import annotations

from typing import ClassVar

import pytest

from mox_core.testing import StorageSuite


class LimitedSuite(StorageSuite):
    """What all suites over servers have in common."""

    fast = "1"
    # What a server cannot do, test by test: each must fail, or it does not belong here.
    cannot: ClassVar[dict[str, str]] = {}

    @pytest.fixture(autouse=True)
    def way(self, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
        monkeypatch.setenv("MOX_FILE_FASTPATH", self.fast)
        name = request.node.name
        reason = self.cannot.get(name) or self.cannot.get(name.partition("[")[0])
        if reason:
            request.applymarker(pytest.mark.xfail(reason=reason, strict=True))
