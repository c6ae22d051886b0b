FROM busybox
ADD archive.tar.gz /unpacked/
ADD archive.tar.gz /also
COPY archive.tar.gz /copied/
