"""`planespotter bench`: put a measured load on a server, and say how it bears it.

    load.py       what load: how photos are sent, by how many callers or how often, and for how long
    schedule.py   when: Poisson arrivals
    sending.py    sends it: one event loop in one process
    crew.py       several such processes, and what they measured put together
    recording.py  what was measured: latencies, errors, answers by the second
    search.py     several loads one after the other: a sweep, the peak and what happens below and above it
    memory.py     the memory of a server on this machine
    summary.py    the results as a table and as JSON
    page.py       the results as a page with pictures

Latency is counted from the moment at which a photo was meant to be sent, not from when its turn came: a server that
stalls makes the photos behind the stall late too, and they are counted so ("no coordinated omission").
"""
