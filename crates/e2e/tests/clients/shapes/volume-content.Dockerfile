FROM busybox
RUN mkdir /data && echo before > /data/f
VOLUME /data
