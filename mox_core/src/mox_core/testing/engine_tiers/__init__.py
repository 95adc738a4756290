"""The tests of EngineSuite, by what they are about. Take EngineSuite; these are its parts."""
