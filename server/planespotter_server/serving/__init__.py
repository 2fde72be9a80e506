"""Serving: admission control, backpressure, fair scheduling and dynamic batching. Knows no gRPC and no request ids.

Six mechanisms bound the work of the server. Why a request was rejected, and where that is decided:

| limit    | where                 | settings                          | at the limit                             |
|----------|-----------------------|-----------------------------------|------------------------------------------|
| photos   | `admission`, `stream` | `max_in_flight_photos`,           | unary: `QUEUE_FULL`, also if the         |
|          |                       | `max_in_flight_per_stream`,       | estimated queueing delay exceeds         |
|          |                       | `max_queue_wait`                  | `max_queue_wait` or the deadline;        |
|          |                       |                                   | streams: backpressure                    |
| bytes    | `admission`, `stream` | `max_in_flight_bytes`,            | unary: `QUEUE_FULL`;                     |
|          |                       | `max_in_flight_per_stream_bytes`  | streams: backpressure                    |
| calls    | `concurrency`         | `max_concurrent_calls_per_client` | `TOO_MANY_CALLS`                         |
| streams  | `concurrency`         | `max_streams`                     | `TOO_MANY_STREAMS`                       |
| rate     | `auth.rate_limit`     | `photos_per_second` of a token    | unary: `RATE_LIMITED`;                   |
|          |                       |                                   | streams: backpressure                    |
| fairness | `fair_queue`, used by | none                              | callers are served round robin; a photo  |
|          | `fair_semaphore` and  |                                   | that waits past its deadline gets        |
|          | `batcher`             |                                   | `DEADLINE_EXCEEDED_IN_QUEUE`             |

Backpressure: the server reads the stream later, so that HTTP/2 flow control slows its client down; nothing is rejected.
"""
