"""Training loop: train, step, validation, optimizer, devices, placement, logs and run preparation."""
