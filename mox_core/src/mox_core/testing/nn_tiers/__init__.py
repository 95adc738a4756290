"""The tests of NNSuite, by topic."""
