"""The `planespotter` command line: root command, shared options and the health and demo commands."""
