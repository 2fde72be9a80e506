"""A web page on which people review photos by keyboard. `planespotter review` serves it on this machine.

cli           the command
app           routes: photos, decisions and progress, as JSON
page          HTML, CSS and JavaScript; the style and the small helpers are those of `web`

What to review, in which order, and what becomes of it is in `planespotter_scraping.reviewing`.
"""
