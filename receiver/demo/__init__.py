"""The demo: a sandbox and a receiver on this machine, several days of campaigns in about a minute."""
