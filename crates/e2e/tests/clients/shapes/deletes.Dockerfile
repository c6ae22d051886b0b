FROM busybox
RUN mkdir -p /tmp/work/a && echo 1 > /tmp/work/a/f && echo 2 > /keep
RUN rm -rf /tmp/work && mkdir -p /tmp/work && echo new > /tmp/work/g
RUN rm /keep && ln -s /tmp/work /keep
