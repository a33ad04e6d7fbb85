"""The commands, a module for those that need the same."""
