FROM busybox
LABEL a=1
LABEL b="2" c='3'
LABEL a=changed \
      d="several \
lines"
