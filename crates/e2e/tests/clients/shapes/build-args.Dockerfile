ARG TAG=latest
FROM busybox:$TAG
ARG VERSION=1.2.3
ARG EMPTY
ENV APP_VERSION=$VERSION FALLBACK=${EMPTY:-none} PRESENT=${VERSION:+yes}
LABEL version=$VERSION vendor="Acme, Inc." multi.word="two words"
RUN echo "$APP_VERSION $FALLBACK $PRESENT" > /version
