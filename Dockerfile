# Two images from one folder:
#
#   docker build --target headgate           --build-arg PYTHON_IMAGE=python@sha256:… -t headgate .
#   docker build --target headgate-writeback --build-arg PYTHON_IMAGE=python@sha256:… -t headgate-writeback .
#
# The second has git as well, which the write-back needs. Give the base by its digest and
# SOURCE_DATE_EPOCH by the commit (`make image` does both), and with
# `--output type=…,rewrite-timestamp=true` the same commit gives the same image.
ARG PYTHON_IMAGE=python:3.11-slim-trixie

FROM ${PYTHON_IMAGE} AS build
ARG SOURCE_DATE_EPOCH=0
WORKDIR /src
COPY requirements/build.txt requirements/run.txt requirements/
COPY image/ image/
COPY pyproject.toml README.md LICENSE ./
COPY operator/ operator/
RUN sh image/assemble.sh /opt/headgate

FROM ${PYTHON_IMAGE} AS runtime
ARG PYTHON_IMAGE
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
LABEL org.opencontainers.image.title="Headgate" \
      org.opencontainers.image.description="The gate between Git HEAD and production traffic for models on KServe" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}" \
      org.opencontainers.image.base.name="${PYTHON_IMAGE}"
COPY --from=build /opt/headgate /opt/headgate
# /tmp is the only folder that may be written to; the chart mounts one there.
ENV PATH=/opt/headgate/bin:$PATH \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
WORKDIR /tmp
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/opt/headgate/bin/headgate"]

FROM runtime AS headgate-writeback
# A moment of the distribution's archive, such as 20261120T000000Z; without it the newest.
ARG APT_SNAPSHOT=
USER 0:0
RUN apt-get update ${APT_SNAPSHOT:+--snapshot=$APT_SNAPSHOT} \
 && apt-get install ${APT_SNAPSHOT:+--snapshot=$APT_SNAPSHOT} --yes --no-install-recommends git openssh-client \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt /var/cache/ldconfig/aux-cache /var/log/apt /var/log/dpkg.log
USER 65532:65532
CMD ["writeback"]

FROM runtime AS headgate
CMD ["operator"]
