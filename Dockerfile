# The image of forebay: one binary on a base without a shell, run by nobody in particular.
#
#   docker build -t forebay .
#   docker run --rm -p 127.0.0.1:8788:8788 -v forebay-data:/data --stop-timeout 310 \
#     -e UPSTREAM_BASE_URL=https://api.openai.com forebay
#
# It needs BuildKit, the builder of Docker 23 and later. There is no `# syntax=` line on purpose: it would fetch one more
# image from Docker Hub. Where registries are slow or blocked:
#
#   --build-arg RUST_IMAGE=mirror.example/library/rust:1.95-slim-trixie
#   --build-arg RUNTIME_IMAGE=mirror.example/distroless/cc-debian13:nonroot
#   --build-arg CARGO_REGISTRY=sparse+https://mirror.example/crates.io-index/
#
# Both bases are the same Debian: the binary is linked against glibc, and must not meet an older one than it was linked
# with. (musl would make it static, but needs a target and a compiler that the official Rust image lacks.) The slim Rust
# image has the C compiler that ring and SQLite want (SQLite is compiled from its source, which comes with its crate), but
# not the make that jemalloc wants as well, and `cc` is the smallest distroless image with glibc and libgcc.
ARG RUST_IMAGE=docker.io/library/rust:1.95-slim-trixie
ARG RUNTIME_IMAGE=gcr.io/distroless/cc-debian13:nonroot

FROM ${RUST_IMAGE} AS build
RUN apt-get update && apt-get install -y --no-install-recommends make && rm -rf /var/lib/apt/lists/*
WORKDIR /src
ARG CARGO_REGISTRY=
RUN if [ -n "$CARGO_REGISTRY" ]; then \
        printf '[source.crates-io]\nreplace-with = "mirror"\n\n[source.mirror]\nregistry = "%s"\n' "$CARGO_REGISTRY" \
            > "$CARGO_HOME/config.toml"; \
    fi
# What .dockerignore lets through: manifests and sources.
COPY . .
# Cargo.lock decides every version. Dependencies are kept from build to build; our own two crates are always compiled, as
# the kept ones are told apart by the times of their files alone, and those may go back.
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,target=/src/target,sharing=locked \
    touch src/lib.rs src/main.rs \
    && cargo build --release --locked \
    && cp target/release/forebay /usr/local/bin/forebay
# Where the embedded store will be. The runtime image has no shell to make it.
RUN install -d -m 700 /data

FROM ${RUNTIME_IMAGE}
COPY LICENSE /usr/share/doc/forebay/LICENSE
COPY --from=build /usr/local/bin/forebay /usr/local/bin/forebay
# A volume is made with the owner and the rights of what it covers: of this folder. Another user needs one of his own.
COPY --from=build --chown=65532:65532 --chmod=700 /data /data
# Loopback inside a container is reached by nobody outside. What is published, and to whom, is decided outside.
ENV LISTEN_HOST=0.0.0.0 ADMIN_HOST=0.0.0.0 DATA_DIR=/data
EXPOSE 8788 8789
# Jobs outlive a restart of the container here; give the volume a name, and they outlive the container.
VOLUME ["/data"]
# A number, so that Kubernetes can tell that it is not root. All that is written is in /data: the root may be read-only.
USER 65532:65532
# Roots of trust are the base image's (/etc/ssl/certs); on a base without, the ones built into forebay.
# As process 1 it ends on SIGTERM and has no children to wait for. `docker stop` waits for 10 seconds unless told
# otherwise: give it SHUTDOWN_TIMEOUT_SECONDS and ten more.
HEALTHCHECK --interval=10s --timeout=6s --start-period=5s --retries=3 CMD ["/usr/local/bin/forebay", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/forebay"]
