FROM busybox AS base
RUN echo 'worker:x:1234:1234::/data:/bin/sh' >> /etc/passwd && echo 'worker:x:1234:' >> /etc/group && mkdir /data && chown worker /data
FROM base AS deps
COPY requirements.txt /
RUN mkdir -p /site && while read -r line; do touch "/site/${line%%==*}"; done < /requirements.txt
FROM base
COPY --from=deps --chown=worker:worker /site /site
USER worker
WORKDIR /data
CMD ["ls", "/site"]
