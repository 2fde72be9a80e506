"""A page for photos: drop them, and read what the network says. Served from this machine by `planespotter web`."""
