# syntax=docker/dockerfile:1
FROM busybox
# a comment
RUN echo one && \
    # in between
    echo two && \

    echo three > /three
