"""`mox migrate`: turns a script written for MoXing into one written for mox."""
