FROM busybox
RUN --mount=type=cache,target=/root/.cache echo cached > /root/.cache/x && cp /root/.cache/x /x
