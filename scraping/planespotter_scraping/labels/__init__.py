"""Labels: parse aircraft type texts, ICAO designators and named types into label paths."""
