FROM busybox
RUN mkdir /d && echo old > /d/server.sh && mkdir /d/deep && echo kept > /d/deep/kept
COPY server.sh /d/
COPY src/deep /d/deep
