# escape=`
FROM busybox
RUN echo one && `
    echo two > /two
ENV BACK=a\b
