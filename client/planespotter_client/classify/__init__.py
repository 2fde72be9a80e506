"""The command `planespotter classify`: photos in, results out.

cli                  options, and which of them exclude each other
run                  one run, from the photos through a stream to the outputs
sources              where photos come from: paths (file_discovery), a folder (folder_watcher), a video (video)
reconnecting_stream  a stream that survives its server
serialization        a result as values: the columns of CSV, JSON lines and Parquet
writers              results on standard output
answer_log, parquet  results in a file that a later run resumes; run_manifest has the settings that the file needs
group_by, grouping   one prediction for several photos of an aircraft
model_description    what a decision needs besides the probabilities, kept next to them
filing               photos filed in folders by what they show
notify               events of a camera, posted to a URL
accuracy             results compared with the ground truth
progress             counts, the progress bar and the summary
"""
