FROM busybox AS build
WORKDIR /src
COPY src/ .
RUN mkdir -p /out/bin && cat *.c > /out/bin/app && chmod 755 /out/bin/app
FROM scratch
COPY --from=build /out/bin/app /app
ENTRYPOINT ["/app"]
