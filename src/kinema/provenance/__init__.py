"""Marks that say a file was made by a machine, and by which: put on every file that Kinema writes, and read back."""
