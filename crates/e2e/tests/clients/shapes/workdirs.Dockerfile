FROM busybox
WORKDIR /a
WORKDIR b
WORKDIR c/d
RUN pwd > where
ENV DIR=/e
WORKDIR $DIR/f
RUN pwd > where
