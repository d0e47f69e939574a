# bchisto for the CPU. Build in the clone: docker build -t bchisto .
FROM debian:bookworm-slim
COPY . /tmp/source
RUN sh /tmp/source/containers/install.sh && rm -rf /tmp/source && useradd --create-home --uid 1000 bchisto
USER bchisto
WORKDIR /work
ENTRYPOINT ["bchisto"]
