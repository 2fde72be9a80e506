"""Renderer: labelled pictures of airliners from 3D models in FlightGear's format, written to a catalog.

The models are files of the user: nothing is downloaded. Rays are traced by Embree on the CPU, without a display or a GPU.
"""
