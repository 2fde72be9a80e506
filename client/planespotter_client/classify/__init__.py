"""The command `planespotter classify`: photos in, answers out.

cli.py has its options, and what goes with what; run.py is one run of it, from the photos through a stream to all that
is made of the answers.

Photos come from sources.py: paths (photos.py), a folder that is watched (watching.py), a video (frames.py).

Answers become values (rows.py), written on standard output (writers.py) or to a file that a later run goes on with
(journal.py, parquet.py); photos are filed by them (sorting.py), or they are compared with the truth (truth.py).
progress.py counts them and draws the bar.
"""
