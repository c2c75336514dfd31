# docker build -t saelab .
# The program for the CPU, with the shipped model and the configs. Python, CUDA and the tests stay outside.
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --release --locked -p saelab

FROM debian:bookworm-slim
# Nothing to install: the program needs the C library, and for s3:// and its like the system's certificates.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
RUN useradd --uid 10001 --create-home saelab
COPY --from=build /src/target/release/saelab /usr/local/bin/saelab
COPY models /opt/saelab/models
COPY configs /opt/saelab/configs
WORKDIR /opt/saelab
USER 10001
ENTRYPOINT ["saelab"]
CMD ["--help"]
