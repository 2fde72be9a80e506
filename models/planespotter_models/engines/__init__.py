"""Inference engines: run the network of a bundle on a CPU or an accelerator."""
