"""Export: from a training run to a model bundle, with int8 calibration."""
