"""The tests of distributions in this folder need them installed; test_*.py here do that."""

collect_ignore_glob = ["*/tests/*"]
