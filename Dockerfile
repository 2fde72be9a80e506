# The server. Mount a bundle at /model:
#   docker build -t planespotter . && docker run -p 50051:50051 -v "$PWD/demo/model:/model:ro" planespotter
FROM python:3.13-slim

WORKDIR /planespotter
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY protos protos
COPY scraping scraping
COPY training training
COPY server server
COPY client client
RUN pip install --no-cache-dir -c constraints.txt '.[server]'

USER nobody
EXPOSE 50051
# SIGTERM, which `docker stop` sends, answers what is under way and then ends.
ENTRYPOINT ["planespotter", "serve", "--model", "/model", "--host", "0.0.0.0", "--port", "50051"]
