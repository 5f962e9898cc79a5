# Ceph on one node with an RGW, to try things out: one monitor, one OSD on a sparse file, no authentication within.
FROM debian:bookworm-slim
RUN apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends \
    python3 ceph-mon ceph-osd radosgw ceph-common && rm -rf /var/lib/apt/lists/*
COPY tests/rgw/cluster /usr/local/bin/cluster
EXPOSE 7480
STOPSIGNAL SIGTERM
# The keys of RGW_ACCESS_KEY and RGW_SECRET_KEY, on the port that the gateways are told, with their bucket made.
CMD ["sh", "-c", "\
    trap 'cluster stop --dir /var/lib/ceph-one-node; exit 0' TERM INT; \
    cluster start --dir /var/lib/ceph-one-node --listen 0.0.0.0 --port 7480 \
        --access-key \"$RGW_ACCESS_KEY\" --secret-key \"$RGW_SECRET_KEY\" >/dev/null && \
    cluster bucket artifacts --dir /var/lib/ceph-one-node && \
    while cluster status --dir /var/lib/ceph-one-node >/dev/null; do sleep 5 & wait $!; done; exit 1"]
