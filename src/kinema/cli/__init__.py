"""The command line: one glue file per command, found by `kinema.cli.main`. The only room that prints."""
