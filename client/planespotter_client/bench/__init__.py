"""Load test of a server: `planespotter bench`.

    cli             the command
    load_generator  a load (modes, open or closed loop, duration) and the event loop that sends it
    workers         a worker pool: several processes that send a load together
    measurements    latency histograms, errors and counts per second
    sweep           several loads in a row: a sweep, or a search for peak throughput
    process_stats   memory and CPU time of a server on this machine
    console_report  results as a table and as JSON
    html_report     results as a page with charts

Latency is measured from the time at which a photo was scheduled, not from when it was sent. So a stall of the server
also delays the photos that were scheduled behind it (no coordinated omission).
"""
