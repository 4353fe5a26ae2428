# syntax=docker/dockerfile:1
# The image: the program, the root certificates, and the libraries it links to.
# No shell and no package manager; scripts/rootfs.sh makes the same file system
# without Docker, and tests it.

FROM rust:1.95.0-bookworm@sha256:6258907abe69656e41cd992e0b705cdcfabcbbe3db374f92ed2d47121282d4a1 AS source
WORKDIR /src
COPY . .
ARG REVISION=unknown

FROM source AS build
# Dependencies are compiled once for each Cargo.lock: both caches outlive the layer.
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,target=/src/target,sharing=locked \
    CLAIMGATE_REVISION="$REVISION" cargo build --locked --release --bin claimgate \
    && scripts/rootfs.sh target/release/claimgate /rootfs

# The filter that Envoy loads, for Envoys on systems older than this one.
FROM source AS build-module
# hadolint ignore=DL3008
RUN apt-get update -q \
    && apt-get install -qy --no-install-recommends busybox-static python3-venv \
    && rm -rf /var/lib/apt/lists/*
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,target=/src/target,sharing=locked \
    CLAIMGATE_REVISION="$REVISION" scripts/portable_module.sh /module

# Nothing but that file, for Kubernetes to mount.
FROM scratch AS module
ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.title="claimgate-envoy" \
      org.opencontainers.image.description="Claimgate as a dynamic module of Envoy" \
      org.opencontainers.image.source="https://github.com/claimgate/claimgate" \
      org.opencontainers.image.documentation="https://github.com/claimgate/claimgate/blob/main/docs/inside-envoy.md" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
COPY --from=build-module /module/libclaimgate_envoy.so /
USER 65532:65532

# The same with a program that copies it, for an init container.
FROM module AS module-init
COPY --from=build-module /bin/busybox /cp
ENTRYPOINT ["/cp", "/libclaimgate_envoy.so"]

# Only the files, for use without an image.
FROM scratch AS files
COPY --from=build /rootfs /

FROM files AS image
ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.title="claimgate" \
      org.opencontainers.image.description="Envoy external authorization that checks bearer tokens" \
      org.opencontainers.image.source="https://github.com/claimgate/claimgate" \
      org.opencontainers.image.documentation="https://github.com/claimgate/claimgate/tree/main/docs" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
# By number, so that Kubernetes can see that it is not root.
USER 65532:65532
EXPOSE 9001 9003
# Mount the folder, not the file: a mounted file that is replaced is never seen again.
ENV CLAIMGATE_CONFIG=/etc/claimgate/gateway.yaml
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s CMD ["/usr/bin/claimgate", "health"]
ENTRYPOINT ["/usr/bin/claimgate"]
CMD ["serve"]
