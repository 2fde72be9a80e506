"""Explore page: charts, contact sheets and advice of a catalog in one HTML file."""
