# The gateway, from this checkout: `docker build -f examples/cluster/gateway.Dockerfile -t artifactstore .`
FROM rust:1.95-bookworm AS build
WORKDIR /source
COPY . .
RUN cargo build --release --locked --ignore-rust-version -p artifactstore-gateway --bin artifactstore

FROM debian:bookworm-slim
RUN useradd --system --uid 10001 --home-dir /var/lib/artifactstore --create-home artifactstore
COPY --from=build /source/target/release/artifactstore /usr/local/bin/artifactstore
USER artifactstore
EXPOSE 9000 9001
ENTRYPOINT ["artifactstore"]
CMD ["serve"]
