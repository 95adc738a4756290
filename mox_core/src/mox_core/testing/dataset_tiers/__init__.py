"""The tests of DatasetSuite."""
