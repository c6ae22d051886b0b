FROM busybox
COPY empty /empty
COPY empty-dir /empty-dir
