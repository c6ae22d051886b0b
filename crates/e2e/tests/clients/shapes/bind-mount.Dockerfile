FROM busybox
RUN --mount=type=bind,source=src,target=/src cat /src/*.c > /joined
