"""Training loop: train, step, validation, optimizer, devices, logs and run preparation."""
