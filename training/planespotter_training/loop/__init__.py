"""The training loop: optimizer, devices, train step and run preparation."""
