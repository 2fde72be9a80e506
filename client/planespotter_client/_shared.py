"""The addresses and channels of _servers.py, under their former name."""

from planespotter_client._servers import DEFAULT_ADDRESS, channel_options, check_address

__all__ = ["DEFAULT_ADDRESS", "channel_options", "check_address"]
