"""A web page for photos: drop them, and read the predictions. `planespotter web` serves it on this machine.

cli           the command
server        the socket and the HTTP server
app           routes: the page, the model, and results streamed as JSON lines
middleware    security middleware: host, origin and CSRF checks, security headers
uploads       the photos of a request
presentation  predictions and metrics as text
page          HTML, CSS and JavaScript
"""
