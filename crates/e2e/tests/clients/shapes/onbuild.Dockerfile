FROM busybox
ONBUILD COPY . /app
ONBUILD RUN echo triggered > /triggered
