FROM busybox
COPY --chown=10:20 package.json /owned/
COPY --chown=10 requirements.txt /owned/
COPY --chmod=640 server.sh /mode/
COPY --chown=1:2 --chmod=755 src /tree
