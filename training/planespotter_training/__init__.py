"""Training: from a catalog to an evaluated model bundle.

The folders stand in layers; each imports only those before it:

    errors         the error that commands show to a user
    atomic_write   atomic write, run lock
    recipes        training configurations
    run_folder     what one training writes
    network        VGG16, loss, checkpoints, initial weights, Grad-CAM
    data           dataset, split, sampler, augmentation, label tree, training fingerprint
    evaluation     prediction, scoring, metrics, confidence intervals, calibration, baselines
    loop           train, step, validation, optimizer, devices, logs
    export         calibrated bundle, serialization, int8 calibration
    reports        evaluation report, comparison, baseline ladder, charts, heat maps
    cli            the commands
"""
