"""Renderer: labelled pictures of airliners from 3D models in FlightGear's format, written to a catalog.

The models are files of the user: nothing is downloaded. Embree traces the rays on the CPU: no display or GPU is needed.
"""
