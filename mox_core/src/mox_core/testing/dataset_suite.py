"""DatasetSuite: the tests that every data set with a name has to pass.

An author's whole test file:

    class TestMyDataset(DatasetSuite):
        @pytest.fixture
        def provider(self):
            return MyProvider()

        @pytest.fixture
        def dataset_dir(self, tmp_path):
            ...  # write a few samples of each split
            return tmp_path

Few samples are enough: what `meta.splits_to_sizes` says is not compared. A split whose files are
not there is skipped, as long as another one is read.
"""

from __future__ import annotations

import pytest

# Before it is imported: a failing assert then shows its values in an author's test run, too.
pytest.register_assert_rewrite("mox_core.testing.dataset_tiers.samples")

from mox_core.testing.dataset_tiers.samples import DatasetTier  # noqa: E402

__all__ = ["DatasetSuite"]


class DatasetSuite(DatasetTier):
    """Subclass it as `Test...` and give it the fixtures `provider` and `dataset_dir`."""
