FROM busybox
RUN mkdir /w && chown 5:6 /w
USER 5:6
WORKDIR /w
RUN touch mine
