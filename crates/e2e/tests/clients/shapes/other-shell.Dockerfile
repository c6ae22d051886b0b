FROM busybox
SHELL ["/bin/sh", "-ec"]
RUN echo $0 > /zero
CMD echo done
