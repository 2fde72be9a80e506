"""Bulk classification: from a manifest of millions of photos to Parquet, on one machine or a Ray cluster.

    list      photos in a folder or an object store  ->  manifest, Parquet
    run       manifest and model bundle              ->  answers, Parquet: one row per photo
    account   manifest and answers                   ->  what is answered, failed, missing or duplicate

It runs the network through the same interface as the server, so there is no gRPC in a job.
"""
